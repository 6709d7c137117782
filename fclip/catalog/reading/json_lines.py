"""Read JSON Lines files record by record."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from fclip.catalog.reading.files import require_file
from fclip.catalog.reading.records import is_deep, require_columns
from fclip.catalog.rows import Refusal


def read_json_lines(path: Path, columns: Sequence[str]) -> Iterator[dict[str, object] | Refusal]:
    """Yield the records of a JSON Lines file, or why a record cannot be read. Blank lines are skipped.

    Bytes that are not UTF-8 become lone surrogates, which validation refuses.

    Raises:
        UserError: the file does not exist, or no record has a column of `columns`.
    """
    present = json_lines_columns(path)
    if present or next(_records(path), None) is not None:
        require_columns(path, columns, present)
    yield from _records(path)


def json_lines_columns(path: Path) -> list[str]:
    """The keys of all records of a JSON Lines file, in the order in which they first occur."""
    present: dict[str, None] = {}
    for record in _records(require_file(path)):
        if isinstance(record, dict):
            present.update(dict.fromkeys(record))
    return list(present)


def _records(path: Path) -> Iterator[dict[str, object] | Refusal]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield Refusal("read", "not JSON", f"line {number}: {error}: {line.strip()!r:.500}")
                continue
            if is_deep(record):
                yield Refusal("read", "nested too deep", f"line {number}: {line.strip()!r:.500}")
            elif isinstance(record, dict):
                yield record
            else:
                yield Refusal("read", "not JSON", f"line {number}: not an object: {line.strip()!r:.500}")

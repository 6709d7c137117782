"""CSV and TSV, record by record."""

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from fclip.catalog.rows import Refusal
from fclip.catalog.sources.columns import require_columns
from fclip.catalog.sources.files import require_file
from fclip.errors import UserError

DELIMITERS = ",;\t|"


def read_delimited(path: Path, columns: Sequence[str]) -> Iterator[dict[str, object] | Refusal]:
    """The records of a CSV or TSV file with a header, or why one cannot be read; blank lines are no records.

    The delimiter is the one with which the header has most of `columns`. Text is UTF-8 (a byte order mark is taken
    off); other bytes become lone surrogates, which validation refuses.

    Raises:
        UserError: no file, no header, no UTF-8 at all, a column of `columns` is missing, or a quote is never closed
            (nobody knows how many rows it took in).
    """
    with require_file(path).open("rb") as binary:
        if binary.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise UserError(f"{path} is UTF-16: save it as UTF-8")
    csv.field_size_limit(sys.maxsize)  # the csv module's own limit is the whole process's, and 128 KiB
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        head = file.readline()
        if not head.strip():
            raise UserError(f"{path} is empty: it needs a first line with the names of the columns")
        file.seek(0)
        lines = _Lines(file)
        reader = csv.reader(lines, delimiter=_delimiter(head, columns))
        try:
            header = [name.strip() for name in next(reader)]
            _require_closed(path, lines, 0)
            require_columns(path, columns, header)
            before = reader.line_num
            for fields in reader:
                _require_closed(path, lines, before)
                if fields and len(fields) != len(header):
                    begin, end = before + 1, reader.line_num
                    where = f"line {end}" if begin == end else f"lines {begin} to {end}, one row by its quotes"
                    counts = f"{len(fields)} fields, {len(header)} columns"
                    yield Refusal("read", "wrong number of fields", f"{where}: {counts}: {fields!r:.500}")
                elif fields:
                    yield dict(zip(header, fields, strict=True))
                before = reader.line_num
        except csv.Error as error:
            raise UserError(f"{path}, line {reader.line_num}: {error}: mend the file") from error


class _Lines:
    """The lines of a file; `ended` once more of them were asked for than there are."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.ended = False

    def __iter__(self) -> Iterator[str]:
        yield from self._file
        self.ended = True


def _require_closed(path: Path, lines: _Lines, before: int) -> None:
    """The record that began after line `before` is there, so the file may end only with a quote still open."""
    if lines.ended:
        raise UserError(
            f"{path}, line {before + 1}: a quote is opened in this row and never closed, so that it takes in the rest "
            "of the file: mend the row"
        )


def _delimiter(head: str, columns: Sequence[str]) -> str:
    def num_known(delimiter: str) -> int:
        names = {name.strip() for name in next(csv.reader([head], delimiter=delimiter))}
        return len(names & set(columns))

    return max(DELIMITERS, key=num_known)  # the first of equals: the comma

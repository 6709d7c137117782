"""CSV and TSV, record by record."""

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

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
        UserError: no file, no header, no UTF-8 at all, or a column of `columns` is missing.
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
        reader = csv.reader(file, delimiter=_delimiter(head, columns))
        try:
            header = [name.strip() for name in next(reader)]
            require_columns(path, columns, header)
            for fields in reader:
                if not fields:
                    continue
                if len(fields) != len(header):
                    yield Refusal(
                        "read",
                        "wrong number of fields",
                        f"line {reader.line_num}: {len(fields)} fields, {len(header)} columns: {fields!r:.500}",
                    )
                else:
                    yield dict(zip(header, fields, strict=True))
        except csv.Error as error:
            raise UserError(f"{path}, line {reader.line_num}: {error}: mend the file") from error


def _delimiter(head: str, columns: Sequence[str]) -> str:
    def num_known(delimiter: str) -> int:
        names = {name.strip() for name in next(csv.reader([head], delimiter=delimiter))}
        return len(names & set(columns))

    return max(DELIMITERS, key=num_known)  # the first of equals: the comma

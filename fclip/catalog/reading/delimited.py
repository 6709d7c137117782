"""CSV and TSV, record by record."""

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from fclip.catalog.reading.files import require_file
from fclip.catalog.reading.records import require_columns
from fclip.catalog.rows import Refusal
from fclip.errors import UserError

DELIMITERS = ",;\t|"


def read_delimited(path: Path, columns: Sequence[str]) -> Iterator[dict[str, object] | Refusal]:
    """The records of a CSV or TSV file with a header, or why one cannot be read; blank lines are no records.

    The delimiter is the one with which the header has most of `columns`. Text is UTF-8 (a byte order mark is taken
    off); other bytes become lone surrogates, which validation refuses.

    Raises:
        UserError: no file, no header, no UTF-8 at all, a column of `columns` is missing, or a quote is not closed on
            its line nor, as it should be, on a later one (nobody knows how many rows it took in).
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
        rows = _rows(path, file, _delimiter(head, columns))
        begin, end, header = next(rows)
        if isinstance(header, str):
            raise UserError(f"{path}, {_lines(begin, end)}: {header}: mend the names of the columns")
        header = [name.strip() for name in header]
        require_columns(path, columns, header)
        for begin, end, fields in rows:
            if isinstance(fields, str):
                yield Refusal("read", "broken quotes", f"{_lines(begin, end)}: {fields}")
            elif len(fields) != len(header):
                found = f"{len(fields)} fields, {len(header)} columns: {fields!r:.500}"
                yield Refusal("read", "wrong number of fields", f"{_lines(begin, end)}: {found}")
            else:
                yield dict(zip(header, fields, strict=True))


def _rows(path: Path, file: TextIO, delimiter: str) -> Iterator[tuple[int, int, list[str] | str]]:
    """The first and last line of each row that is not blank, and its fields, or what is wrong with its quotes."""
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    while True:
        begin, fault = reader.line_num + 1, ""
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fault = str(error)
        end = reader.line_num
        if fault and begin < end:
            raise UserError(
                f"{path}, {_lines(begin, end)}: a quote is opened and not closed where it should be ({fault}), so "
                "that nobody knows how many rows these are: mend them"
            )
        if fault or fields:
            yield begin, end, fault or fields


def _lines(begin: int, end: int) -> str:
    return f"line {end}" if begin == end else f"lines {begin} to {end}"


def _delimiter(head: str, columns: Sequence[str]) -> str:
    def num_known(delimiter: str) -> int:
        names = {name.strip() for name in next(csv.reader([head], delimiter=delimiter))}
        return len(names & set(columns))

    return max(DELIMITERS, key=num_known)  # the first of equals: the comma

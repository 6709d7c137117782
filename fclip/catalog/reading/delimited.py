"""Read CSV and TSV files record by record."""

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
    """Yield the records of a CSV or TSV file with a header, or why a record cannot be read. Blank lines are skipped.

    The delimiter is the one with which the header has the most of `columns`. Text is UTF-8; a byte order mark is
    removed. Other bytes become lone surrogates, which validation refuses.

    Raises:
        UserError: the file or its header is missing, the file is UTF-16, a column of `columns` is missing, or a quote
            that spans lines is not closed correctly, so that the number of its rows is unknown.
    """
    with _opened(path) as file:
        head = _head(path, file)
        rows = _rows(path, file, _delimiter(head, columns))
        header = _header(path, rows)
        require_columns(path, columns, header)
        for begin, end, fields in rows:
            if isinstance(fields, str):
                yield Refusal("read", "broken quotes", f"{_lines(begin, end)}: {fields}")
            elif len(fields) != len(header):
                detail = f"{len(fields)} fields, {len(header)} columns: {fields!r:.500}"
                yield Refusal("read", "wrong number of fields", f"{_lines(begin, end)}: {detail}")
            else:
                yield dict(zip(header, fields, strict=True))


def delimited_columns(path: Path) -> list[str]:
    """The names in the header of a CSV or TSV file, read with the delimiter that gives most of them.

    Raises:
        UserError: no file, no header, or no UTF-8 at all.
    """
    with _opened(path) as file:
        head = _head(path, file)
        return _header(path, _rows(path, file, max(DELIMITERS, key=lambda delimiter: len(_split(head, delimiter)))))


def _opened(path: Path) -> TextIO:
    with require_file(path).open("rb") as binary:
        if binary.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise UserError(f"{path} is UTF-16; save it as UTF-8")
    csv.field_size_limit(sys.maxsize)  # the csv module's own limit is the whole process's, and 128 KiB
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _head(path: Path, file: TextIO) -> str:
    """The first line of a file, which is then at its beginning again."""
    head = file.readline()
    if not head.strip():
        raise UserError(f"{path} is empty; its first line must have the names of the columns")
    file.seek(0)
    return head


def _header(path: Path, rows: Iterator[tuple[int, int, list[str] | str]]) -> list[str]:
    begin, end, header = next(rows)
    if isinstance(header, str):
        raise UserError(f"{path}, {_lines(begin, end)}: {header}; correct the names of the columns")
    return [name.strip() for name in header]


def _rows(path: Path, file: TextIO, delimiter: str) -> Iterator[tuple[int, int, list[str] | str]]:
    """Yield the first and last line of each row that is not blank, and its fields or the fault in its quotes."""
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
                f"{path}, {_lines(begin, end)}: a quote is opened and not closed correctly ({fault}), so the "
                "number of rows is unknown; correct these lines"
            )
        if fault or fields:
            yield begin, end, fault or fields


def _lines(begin: int, end: int) -> str:
    return f"line {end}" if begin == end else f"lines {begin} to {end}"


def _delimiter(head: str, columns: Sequence[str]) -> str:
    def num_known(delimiter: str) -> int:
        return len(set(_split(head, delimiter)) & set(columns))

    return max(DELIMITERS, key=num_known)  # the first of equals: the comma


def _split(head: str, delimiter: str) -> list[str]:
    return [name.strip() for name in next(csv.reader([head], delimiter=delimiter))]

"""Grades of search results by people: an append-only inbox, and the table of judgements that takes them."""

import csv
import io
import json
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from fclip.errors import UserError
from fclip.files import atomic_write

STAMPS = ("by", "at")  # who and when
MAX_GRADE = 4


@dataclass(frozen=True)
class GradedResult:
    """A grade from 0 (wrong) to 4 (an exact match).

    Attributes:
        by: who. at: when, in UTC, ISO 8601. index, model: what returned the product; "" if unknown.
    """

    query: str
    dataset: str
    product_id: str
    grade: int
    by: str
    at: str
    index: str = ""
    model: str = ""


class Inbox:
    """Appends grades as lines of JSON, and syncs them to disk before it returns. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def add(self, grades: Iterable[GradedResult]) -> None:
        """Append grades; raises OSError if the disk refuses them."""
        lines = "".join(json.dumps(asdict(grade), ensure_ascii=True) + "\n" for grade in grades)
        with self._lock:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a+b") as file:
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    lines = lines if file.read(1) == b"\n" else "\n" + lines  # the last line was cut short
                file.write(lines.encode())
                file.flush()
                os.fsync(file.fileno())


def now() -> str:
    """Return the time as grades record it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_inbox(path: Path) -> list[GradedResult]:
    """Return the grades of an inbox in their order. A last line that was cut short is left out.

    Raises:
        UserError: another line is not a grade.
    """
    grades = []
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for number, line in enumerate(lines, start=1):
        try:
            grade = GradedResult(**json.loads(line))
            if not (isinstance(grade.grade, int) and 0 <= grade.grade <= MAX_GRADE):
                raise ValueError(f"grade {grade.grade}")
        except (ValueError, TypeError) as error:
            if number == len(lines):
                break
            raise UserError(f"{path}, line {number} is not a grade ({error}); delete the line") from error
        grades.append(grade)
    return grades


@dataclass(frozen=True)
class TableColumns:
    """The columns of a table of judgements."""

    query: str = "query"
    product_id: str = "product_id"
    grade: str = "grade"


def merge(grades: Sequence[GradedResult], table: Path, columns: TableColumns = TableColumns()) -> tuple[int, int]:
    """Merge grades into a CSV or TSV table of judgements. The latest grade of a query and product counts.

    The columns `by` and `at` say who and when. Rows and columns that were there before stay.

    Returns:
        Numbers of new and of changed judgements.

    Raises:
        UserError: the table lacks a column.
    """
    delimiter = "\t" if table.suffix.lower() == ".tsv" else ","
    rows, names = _read_table(table, columns, delimiter)
    by_key = {(row[columns.query], row[columns.product_id]): row for row in rows}
    latest = {(grade.query, grade.product_id): grade for grade in sorted(grades, key=lambda grade: grade.at)}
    new = changed = 0
    for key, grade in latest.items():
        values = {columns.query: grade.query, columns.product_id: grade.product_id, columns.grade: str(grade.grade)}
        values |= {"by": grade.by, "at": grade.at}
        row = by_key.get(key)
        if row is None:
            rows.append(values)
            new += 1
        elif (row.get("at") or "") <= grade.at:
            changed += row[columns.grade] != values[columns.grade]
            row.update(values)
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, names, restval="", lineterminator="\n", delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    atomic_write(table, buffer.getvalue())
    return new, changed


def _read_table(table: Path, columns: TableColumns, delimiter: str) -> tuple[list[dict[str, str]], list[str]]:
    needed = [columns.query, columns.product_id, columns.grade]
    if not table.is_file():
        return [], [*needed, *STAMPS]
    with table.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter=delimiter)
        names = list(reader.fieldnames or ())
        if missing := [name for name in needed if name not in names]:
            raise UserError(f"{table} has no column {missing[0]!r}; correct the file or its columns in params.yaml")
        return list(reader), [*names, *(name for name in STAMPS if name not in names)]

"""The columns of a table, a sample of its rows, and the number of rows per id."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fclip.catalog.reading.records import cell_text
from fclip.catalog.reading.tables import read_table, table_columns
from fclip.catalog.rows import Refusal
from fclip.errors import UserError

T = TypeVar("T")
SAMPLE_ROWS = 300


@dataclass(frozen=True)
class TableSample:
    """Rows spread over a table.

    Attributes:
        columns: the names that can be mapped, in the table's order: not empty, and there once.
        repeated: names that several columns have.
        num_unnamed: columns without a name.
        num_rows: rows of the table, those that cannot be read included.
        num_unreadable: rows of the table that cannot be read.
        rows: the sample, its cells by column.
    """

    columns: tuple[str, ...]
    rows: tuple[Mapping[str, object], ...]
    num_rows: int
    repeated: tuple[str, ...] = ()
    num_unnamed: int = 0
    num_unreadable: int = 0

    def values(self, column: str) -> list[str]:
        """The column's cells as text, in the sample's order, without the empty ones."""
        return [text for row in self.rows if (text := cell_text(row.get(column))) is not None]


@dataclass(frozen=True)
class IdCounts:
    """How often the ids of a column occur, over all readable rows.

    Attributes:
        num_rows: the rows. num_empty: those without an id. num_distinct: different ids.
        num_runs: runs of consecutive rows with the same id, rows without an id not counted.
        num_contradictions: rows within a run whose title is not empty and not that of the run.
    """

    num_rows: int
    num_empty: int
    num_distinct: int
    num_runs: int
    num_contradictions: int

    @property
    def num_repeats(self) -> int:
        """Rows with an id that an earlier row has."""
        return self.num_rows - self.num_empty - self.num_distinct


def read_sample(path: Path, num_sampled: int = SAMPLE_ROWS) -> TableSample:
    """Read the header, and a sample of at least `num_sampled` rows, or all; raises UserError where there are none."""
    header = table_columns(path)
    columns = tuple(name for name in dict.fromkeys(header) if name.strip() and header.count(name) == 1)
    repeated = tuple(name for name in dict.fromkeys(header) if name.strip() and header.count(name) > 1)
    if not columns:
        raise UserError(f"{path} has no column that can be mapped: its first line must have the names of the columns")
    num_rows = num_unreadable = 0

    def readable() -> Iterator[Mapping[str, object]]:
        nonlocal num_rows, num_unreadable
        for record in read_table(path, columns):
            num_rows += 1
            if isinstance(record, Refusal):
                num_unreadable += 1
            else:
                yield record

    rows = spread_sample(readable(), num_sampled)
    if not rows:
        raise UserError(f"{path} has no row that can be read ({num_rows} rows): put the products there")
    num_unnamed = sum(not name.strip() for name in header)
    return TableSample(columns, tuple(rows), num_rows, repeated, num_unnamed, num_unreadable)


def spread_sample(items: Iterable[T], size: int) -> list[T]:
    """From `size` to 2 · `size` − 1 items at equal distances, the first included; all of them where there are fewer."""
    kept: list[T] = []
    step = 1
    for number, item in enumerate(items):
        if number % step:
            continue
        kept.append(item)
        if len(kept) == 2 * size:
            kept, step = kept[::2], 2 * step
    return kept


def count_ids(path: Path, column: str, title: str | None) -> IdCounts:
    """How often the ids of `column` occur in a table, and whether rows of one id contradict each other's `title`."""
    columns = [column] if title in (None, column) else [column, str(title)]
    records = (record for record in read_table(path, columns) if not isinstance(record, Refusal))
    return count_rows_by_id(
        (cell_text(record.get(column)), cell_text(record.get(title)) if title else None) for record in records
    )


def count_rows_by_id(rows: Iterable[tuple[str | None, str | None]]) -> IdCounts:
    """Count rows, given as id and title, in the table's order."""
    ids: set[str] = set()
    num_rows = num_empty = num_runs = num_contradictions = 0
    last: str | None = None
    own_title: str | None = None
    for own_id, title in rows:
        num_rows += 1
        if own_id is None:
            num_empty += 1
        elif own_id != last:
            num_runs += 1
            ids.add(own_id)
            own_title = title
        else:
            num_contradictions += title is not None and own_title is not None and title != own_title
            own_title = own_title or title
        last = own_id
    return IdCounts(num_rows, num_empty, len(ids), num_runs, num_contradictions)

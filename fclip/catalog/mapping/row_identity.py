"""The identity of a table's rows: the column with the product id, and whether rows of one product are merged."""

from collections.abc import Callable
from dataclasses import dataclass

from fclip.catalog.mapping.pick_columns import candidates, listed, map_flag
from fclip.catalog.mapping.table_sample import IdCounts, TableSample

CountIds = Callable[[str], IdCounts]
MAX_REPEATED = 0.05  # of the rows, with an id that an earlier row has: an ingest refuses these, and accepts some
MAX_CONTRADICTIONS = 0.05  # of the repeats, with another title than the product's first row


@dataclass(frozen=True)
class RowIdentity:
    """The column with the product id.

    Attributes:
        merge_rows: consecutive rows with the same id are one product.
        num_products: products that the table gives, before any is refused for another reason.
        notes: sentences about rows that are refused.
        repeating: other columns of ids that several rows share.
    """

    column: str
    merge_rows: bool
    num_products: int
    notes: tuple[str, ...] = ()
    repeating: tuple[str, ...] = ()


def identify_rows(sample: TableSample, count: CountIds, given: str | None) -> RowIdentity | str:
    """The identity of the rows, or the fault of the table, in one sentence that names the flag that solves it.

    A column in which every row has its own id comes first, then one whose repeats are consecutive rows of one product,
    then one with few repeats.

    Args:
        count: gives the counts of a column's ids over the whole table.
        given: the column that the user names; None: by the columns' names.
    """
    groups = [[given]] if given is not None else candidates("product_id", sample)
    if not groups:
        return _without_id(sample)
    counts = {column: count(column) for group in groups for column in group}
    repeating = tuple(column for column, own in counts.items() if own.num_repeats and _has_ids(own))
    for accepts in (_is_unique, _is_mergeable, _has_few_repeats):
        for group in groups:
            match [column for column in group if accepts(counts[column])]:
                case [column]:
                    return _identity(column, counts[column], repeating)
                case [_, _, *_] as several:
                    return (
                        f"{listed(several)} could equally be the product id: choose one with "
                        f"{map_flag('product_id', several[0])}"
                    )
    column, own = next(iter(counts.items()))
    if not _has_ids(own):
        return (
            f"`{column}` is empty in {own.num_empty:,} of {own.num_rows:,} rows, so it cannot be the product id: "
            f"{_choose(sample)}"
        )
    return (
        f"`{column}` does not identify the rows: {own.num_repeats:,} of {own.num_rows:,} repeat an id of an earlier "
        f"row, and are not consecutive rows with one title: {_choose(sample)}"
    )


def _is_unique(counts: IdCounts) -> bool:
    return _has_ids(counts) and counts.num_repeats == 0


def _is_mergeable(counts: IdCounts) -> bool:
    """Whether all repeats follow their product's first row and agree with its title."""
    consecutive = counts.num_runs == counts.num_distinct
    return _has_ids(counts) and consecutive and counts.num_contradictions <= MAX_CONTRADICTIONS * counts.num_repeats


def _has_few_repeats(counts: IdCounts) -> bool:
    return _has_ids(counts) and counts.num_repeats <= MAX_REPEATED * counts.num_rows


def _has_ids(counts: IdCounts) -> bool:
    return counts.num_distinct > 0 and counts.num_empty <= MAX_REPEATED * counts.num_rows


def _identity(column: str, counts: IdCounts, repeating: tuple[str, ...]) -> RowIdentity:
    merge = counts.num_repeats > 0 and _is_mergeable(counts)
    notes = []
    if counts.num_empty:
        notes.append(f"Rows without a `{column}`: {counts.num_empty:,}. The ingest refuses them.")
    if counts.num_repeats and not merge:
        notes.append(
            f"Rows that repeat the `{column}` of an earlier row: {counts.num_repeats:,}. The ingest refuses them."
        )
    if merge and counts.num_contradictions:
        notes.append(f"Merged rows with another title than their product's first row: {counts.num_contradictions:,}.")
    others = tuple(other for other in repeating if other != column)
    return RowIdentity(column, merge, counts.num_distinct, tuple(notes), () if merge else others)


def _without_id(sample: TableSample) -> str:
    return f"no column has a usual name for the product id, so the rows cannot be identified: {_choose(sample)}"


def _choose(sample: TableSample) -> str:
    different = [
        column
        for column in sample.columns
        if len(values := sample.values(column)) == len(sample.rows) == len(set(values))
    ]
    if not different:
        return "add a column with a different value in every row, and name it with --map product_id=COLUMN"
    return (
        f"name a column with --map product_id=COLUMN; in all {len(sample.rows)} sampled rows these differ: "
        f"{listed(different)}"
    )

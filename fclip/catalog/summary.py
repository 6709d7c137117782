"""The counts of an ingest, and the checks that there are enough good rows and products."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fclip.catalog.config import SPLITS, DatasetConfig, RowConfig
from fclip.catalog.products import Products
from fclip.catalog.repair import Repair
from fclip.catalog.rows import RefusedRow
from fclip.catalog.split_assignment import SplitAssignment
from fclip.catalog.write import write_quarantine
from fclip.errors import UserError

BAD_ROW_STAGES = (
    "read",
    "validate",
    "decode",
)  # stages that refuse bad rows; the others exclude good rows on purpose


@dataclass(frozen=True)
class IngestSummary:
    """Counts of one ingest; `num_rows` = `num_products` + `num_refused`.

    Attributes:
        num_groups: groups of products that are linked by near-duplicate images, same texts or same parents.
        num_groups_across_splits: groups with products in two splits; 0 unless the source has fixed splits.
        num_images: distinct images.
        refused_by_reason: refused rows by reason.
        repaired: repaired cells by kind.
        splits: products by split.
    """

    dataset: str
    num_rows: int
    num_products: int
    num_groups: int
    num_groups_across_splits: int
    num_images: int
    num_refused: int
    refused_by_reason: Mapping[str, int]
    repaired: Mapping[str, int]
    splits: Mapping[str, int]

    def to_json(self) -> dict[str, object]:
        """The content of `ingest.json`."""
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """Yield the lines for the log."""
        yield (
            f"{self.dataset}: {self.num_rows} rows: {self.num_products} products ({_listed(self.splits)}) in "
            f"{self.num_groups} groups, {self.num_images} images, {self.num_refused} refused"
        )
        yield from (f"  refused: {reason}: {count}" for reason, count in self.refused_by_reason.items())
        yield from (f"  repaired: {what}: {count}" for what, count in self.repaired.items())
        if self.num_groups_across_splits:
            yield f"  {self.num_groups_across_splits} groups are in more than one fixed split of the source"


def summarise(
    dataset: str,
    *,
    num_rows: int,
    products: Products,
    assignment: SplitAssignment,
    refused: Sequence[RefusedRow],
    repairs: Sequence[Repair],
) -> IngestSummary:
    """Count products and refused rows. Together they must equal `num_rows`, the rows of the source."""
    num_products = len(assignment.kept)
    assert num_rows == num_products + len(refused), (num_rows, num_products, len(refused))
    splits = Counter(assignment.split[index] for index in assignment.kept)
    group_splits = {(int(assignment.group[index]), assignment.split[index]) for index in assignment.kept}
    groups = Counter(group for group, _ in group_splits)
    return IngestSummary(
        dataset=dataset,
        num_rows=num_rows,
        num_products=num_products,
        num_groups=len(groups),
        num_groups_across_splits=sum(count > 1 for count in groups.values()),
        num_images=len(assignment.image_numbers(products)),
        num_refused=len(refused),
        refused_by_reason=_sorted(Counter(row.refusal.reason for row in refused)),
        repaired=_sorted(Counter(f"{repair.what} in {repair.field}" for repair in repairs)),
        splits=dict(sorted(splits.items(), key=lambda entry: _order(entry[0]))),
    )


def require_few_refused(
    dataset: str, num_rows: int, refused: Sequence[RefusedRow], config: RowConfig, *, keep: Path | None
) -> None:
    """Raise UserError if there are no rows, no good rows, or a larger share of bad rows than `config` allows.

    Rows that are excluded on purpose are not bad.

    Args:
        keep: where the refused rows are written before the error; None: nowhere.
    """
    if num_rows == 0:
        raise UserError(f"the source of `{dataset}` has 0 rows; add products or correct its path in params.yaml")
    bad = [row for row in refused if row.refusal.stage in BAD_ROW_STAGES]
    if len(refused) < num_rows and len(bad) <= config.max_refused_fraction * num_rows:
        return
    first: dict[str, RefusedRow] = {}
    for row in bad or refused:
        first.setdefault(row.refusal.reason, row)
    counts = Counter(row.refusal.reason for row in bad or refused)
    details = {reason: " ".join(row.refusal.detail.split())[:200] for reason, row in first.items()}  # one line each
    reasons = "".join(
        f"\n  {reason}: {count}, for example row {first[reason].source_row}: {details[reason]}"
        for reason, count in counts.most_common()
    )
    kept = ""
    if keep is not None:
        keep.parent.mkdir(parents=True, exist_ok=True)
        write_quarantine(keep, refused)
        kept = f" (all refused rows: {keep})"
    number = len(bad or refused)
    allowed = (
        f"the limit is {config.max_refused_fraction:.1%} (ingest.settings.rows.max_refused_fraction in params.yaml)"
    )
    raise UserError(
        f"{number} of {num_rows} rows of `{dataset}` were refused, {number / num_rows:.1%}; "
        f"{allowed if len(refused) < num_rows else 'no row is left'}{reasons}\n"
        f"correct the source or its column mapping in params.yaml{kept}"
    )


def require_products(summary: IngestSummary, config: DatasetConfig) -> None:
    """Raise UserError if a split with a role has no product."""
    for split, role in config.roles.items():
        if not summary.splits.get(split):
            fractions = ", ".join(f"{each} {fraction}" for each, fraction in config.fractions.items()) or "as published"
            raise UserError(
                f"split `{split}` (role {role}) of `{summary.dataset}` is empty: the splits of {summary.num_products} "
                f"products are {_listed(summary.splits)} (fractions: {fractions}; refused: "
                f"{_listed(summary.refused_by_reason) or 'none'}); "
                "raise the split's fraction in params.yaml or add products"
            )


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def _order(split: str) -> tuple[int, str]:
    return (SPLITS.index(split) if split in SPLITS else len(SPLITS)), split

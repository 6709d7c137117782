"""What an ingest came to, in counts that add up."""

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

BAD = ("read", "validate", "decode")  # stages at which a row is refused for what it is, not left out on purpose


@dataclass(frozen=True)
class IngestSummary:
    """Counts of one ingest; `num_rows` = `num_products` + `num_refused`.

    Attributes:
        num_groups: what chains of near-duplicate images, same texts and same parents join is one.
        num_groups_across_splits: groups with products in two splits; 0 unless the source comes split.
        num_images: distinct.
        refused_by_reason, repaired: counts; a repair is of one cell.
        splits: products of each.
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
        """What a log says of it."""
        yield (
            f"{self.dataset}: {self.num_rows} rows: {self.num_products} products ({_listed(self.splits)}) in "
            f"{self.num_groups} groups, {self.num_images} images, {self.num_refused} refused"
        )
        yield from (f"  refused: {reason}: {count}" for reason, count in self.refused_by_reason.items())
        yield from (f"  repaired: {what}: {count}" for what, count in self.repaired.items())
        if self.num_groups_across_splits:
            yield f"  {self.num_groups_across_splits} groups are in two of the splits that the source comes with"


def summarise(
    dataset: str,
    *,
    num_rows: int,
    products: Products,
    sides: SplitAssignment,
    refused: Sequence[RefusedRow],
    repairs: Sequence[Repair],
) -> IngestSummary:
    """Count, and assert that the counts add up to `num_rows`, the rows that came out of the source."""
    num_products = len(sides.kept)
    assert num_rows == num_products + len(refused), (num_rows, num_products, len(refused))
    splits = Counter(sides.split[place] for place in sides.kept)
    towers_of = {(int(sides.group[place]), sides.split[place]) for place in sides.kept}
    groups = Counter(group for group, _ in towers_of)
    return IngestSummary(
        dataset=dataset,
        num_rows=num_rows,
        num_products=num_products,
        num_groups=len(groups),
        num_groups_across_splits=sum(count > 1 for count in groups.values()),
        num_images=len(sides.image_numbers(products)),
        num_refused=len(refused),
        refused_by_reason=_sorted(Counter(row.refusal.reason for row in refused)),
        repaired=_sorted(Counter(f"{repair.what} in {repair.field}" for repair in repairs)),
        splits=dict(sorted(splits.items(), key=lambda entry: _order(entry[0]))),
    )


def require_few_refused(
    dataset: str, num_rows: int, refused: Sequence[RefusedRow], config: RowConfig, *, keep: Path | None
) -> None:
    """Raise UserError when there are no rows, no good ones, or a larger share of bad ones than `config` allows.

    What is left out on purpose is not bad. `keep`: where the bad rows are written for a person to look at.
    """
    if num_rows == 0:
        raise UserError(f"the source of `{dataset}` has 0 rows: give it products, or mend its path in params.yaml")
    bad = [row for row in refused if row.refusal.stage in BAD]
    if len(refused) < num_rows and len(bad) <= config.max_refused_fraction * num_rows:
        return
    first: dict[str, RefusedRow] = {}
    for row in bad or refused:
        first.setdefault(row.refusal.reason, row)
    counts = Counter(row.refusal.reason for row in bad or refused)
    details = {reason: " ".join(row.refusal.detail.split())[:200] for reason, row in first.items()}  # a line each
    reasons = "".join(
        f"\n  {reason}: {count}, as row {first[reason].source_row}: {details[reason]}"
        for reason, count in counts.most_common()
    )
    kept = ""
    if keep is not None:
        keep.parent.mkdir(parents=True, exist_ok=True)
        write_quarantine(keep, refused)
        kept = f" (all of them: {keep})"
    number = len(bad or refused)
    allowed = f"at most {config.max_refused_fraction:.1%} may be (ingest.rows.max_refused_fraction in params.yaml)"
    raise UserError(
        f"{number} of {num_rows} rows of `{dataset}` were refused, {number / num_rows:.1%}; "
        f"{allowed if len(refused) < num_rows else 'none is left'}{reasons}\n"
        f"mend the source, or its mapping in params.yaml{kept}"
    )


def require_products(summary: IngestSummary, config: DatasetConfig) -> None:
    """Raise UserError when there is no product in a split that has a role."""
    for split, role in config.roles.items():
        if not summary.splits.get(split):
            fractions = ", ".join(f"{each} {fraction}" for each, fraction in config.split.items()) or "as published"
            raise UserError(
                f"split `{split}` (role {role}) of `{summary.dataset}` is empty: {summary.num_products} products fell "
                f"into {_listed(summary.splits)} (fractions: {fractions}; refused: "
                f"{_listed(summary.refused_by_reason) or 'none'}): "
                "give it a larger fraction in params.yaml, or more products"
            )


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def _order(split: str) -> tuple[int, str]:
    return (SPLITS.index(split) if split in SPLITS else len(SPLITS)), split

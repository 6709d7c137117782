"""What an ingest came to, in counts that add up."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from fclip.catalog.config import SPLITS, DatasetConfig
from fclip.catalog.rows import RefusedRow
from fclip.catalog.tables import Product
from fclip.errors import UserError


@dataclass(frozen=True)
class IngestSummary:
    """Counts of one ingest; `num_rows` = `num_products` + `num_refused`."""

    dataset: str
    num_rows: int
    num_products: int
    num_images: int  # distinct
    num_refused: int
    refused_by_reason: Mapping[str, int]
    splits: Mapping[str, int]

    def to_json(self) -> dict[str, object]:
        """The content of `ingest.json`."""
        return asdict(self)


def summarise(
    dataset: str, *, num_rows: int, products: Sequence[Product], refused: Sequence[RefusedRow]
) -> IngestSummary:
    """Count, and assert that the counts add up to `num_rows`, the rows that came out of the source."""
    reasons = Counter(row.refusal.reason for row in refused)
    splits = Counter(product.split for product in products)
    assert num_rows == len(products) + len(refused), (num_rows, len(products), len(refused))
    return IngestSummary(
        dataset=dataset,
        num_rows=num_rows,
        num_products=len(products),
        num_images=len({image for product in products for image in product.images}),
        num_refused=len(refused),
        refused_by_reason=dict(sorted(reasons.items())),
        splits={split: splits[split] for split in SPLITS if splits[split]},
    )


def require_products(summary: IngestSummary, config: DatasetConfig, refused: Sequence[RefusedRow]) -> None:
    """Raise UserError when there is no product at all, or none in a split that has a role."""
    name = summary.dataset
    if summary.num_rows == 0:
        raise UserError(f"the source of `{name}` has 0 rows: give it products, or mend its path in params.yaml")
    reasons = ", ".join(f"{reason} {count}" for reason, count in summary.refused_by_reason.items())
    if summary.num_products == 0:
        first = refused[0]
        raise UserError(
            f"all {summary.num_rows} rows of `{name}` were refused ({reasons}); row {first.source_row}: "
            f"{first.refusal.reason}: {first.refusal.detail}: mend the source, or its mapping in params.yaml"
        )
    for split, role in config.roles.items():
        if not summary.splits.get(split):
            counts = ", ".join(f"{each} {count}" for each, count in summary.splits.items())
            fractions = ", ".join(f"{each} {fraction}" for each, fraction in config.split.items()) or "as published"
            raise UserError(
                f"split `{split}` (role {role}) of `{name}` is empty: {summary.num_products} products fell into "
                f"{counts} (fractions: {fractions}; refused: {reasons or 'none'}): "
                "give it a larger fraction in params.yaml, or more products"
            )

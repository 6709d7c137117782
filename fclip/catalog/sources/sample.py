"""The sample catalog, which the project generates itself."""

from collections.abc import Iterator
from typing import Literal

from fclip.catalog.rows import RefusedRow, SourceRow
from fclip.catalog.sources.registry import SourceKind
from fclip.config import config
from fclip.mirror.source_access import SourceAccess


@config
class SampleSource:
    """The sample catalog that fclip draws."""

    kind: Literal["sample"]
    domain: Literal["studio", "street"]
    """Style of the pictures: `studio` (product photos) or `street` (photos by customers)."""
    num_products: int
    """Number of products."""
    seed: int = 0
    """Seed of the drawing; each product depends only on the seed and its number."""

    def __post_init__(self) -> None:
        if self.num_products < 1:
            raise ValueError(f"num_products must be at least 1, not {self.num_products}")


def describe(source: SampleSource, access: SourceAccess) -> dict[str, object]:
    """Return the parameters of the generated catalog; no file is read."""
    return {
        "kind": source.kind,
        "domain": source.domain,
        "seed": source.seed,
        "num_rows": source.num_products,
    }


def read(source: SampleSource, access: SourceAccess, limit: int | None) -> Iterator[SourceRow | RefusedRow]:
    """Yield the first `limit` generated products; each is generated independently."""
    from fclip.sample.catalog import draw_products  # a slow import that only this source needs

    num_products = source.num_products if limit is None else min(limit, source.num_products)
    products = draw_products(source.domain, num_products=num_products, seed=source.seed)
    for row, product in enumerate(products):
        yield SourceRow(
            source_row=row,
            product_id=product.product_id,
            attributes=dict(product.attributes),
            texts=dict(product.texts),
            images=tuple(product.images),
            raw={"product_id": product.product_id, **product.attributes, **product.texts},
        )


SAMPLE = SourceKind(
    kind="sample",
    label="sample catalog",
    description="A catalog that the project generates, for a first run and for tests.",
    config=SampleSource,
    describe=describe,
    read=read,
    path_fields=(),
)

"""The catalog that the project draws itself."""

from collections.abc import Iterator
from typing import Literal

from fclip.catalog.rows import RefusedRow, SourceRow
from fclip.catalog.sources.registry import SourceKind
from fclip.config import config
from fclip.mirror.source_access import SourceAccess


@config
class SampleSource:
    """The catalog that the project draws itself: `num_products` of a domain, each from `seed` and its number."""

    kind: Literal["sample"]
    domain: Literal["studio", "street"]
    num_products: int
    seed: int

    def __post_init__(self) -> None:
        if self.num_products < 1:
            raise ValueError(f"num_products must be at least 1, not {self.num_products}")


def describe(source: SampleSource, outside: SourceAccess) -> dict[str, object]:
    """What is drawn; there is nothing outside to look at."""
    return {
        "kind": source.kind,
        "domain": source.domain,
        "seed": source.seed,
        "num_rows": source.num_products,
    }


def read(source: SampleSource, outside: SourceAccess, limit: int | None) -> Iterator[SourceRow | RefusedRow]:
    """The products as they are drawn; the first `limit` of them, since each is drawn by itself."""
    from fclip.sample.catalog import draw_products  # only those who read a drawn catalog need it

    num_products = source.num_products if limit is None else min(limit, source.num_products)
    drawn = draw_products(source.domain, num_products=num_products, seed=source.seed)
    for row, product in enumerate(drawn):
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
    label="drawn catalog",
    description="The catalog that the project draws itself, for a first run and for tests.",
    config=SampleSource,
    describe=describe,
    read=read,
    path_fields=(),
)

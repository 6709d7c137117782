"""The catalog that the project draws itself."""

from collections.abc import Iterator

from fclip.catalog.config import SampleSource
from fclip.catalog.rows import RefusedRow, SourceRow
from fclip.mirror.outside import Outside
from fclip.sample.catalog import draw_products


def describe(source: SampleSource, outside: Outside) -> dict[str, object]:
    """What is drawn; there is nothing outside to look at."""
    return {
        "kind": source.kind,
        "domain": source.domain,
        "seed": source.seed,
        "num_rows": source.num_products,
    }


def read(source: SampleSource, outside: Outside, limit: int | None) -> Iterator[SourceRow | RefusedRow]:
    """The products as they are drawn; the first `limit` of them, since each is drawn by itself."""
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

"""The tables of a catalog: products and quarantine."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fclip.catalog.rows import RefusedRow
from fclip.errors import UserError
from fclip.files import atomic_path

PRODUCTS = pa.schema(
    [
        pa.field("product_id", pa.string(), nullable=False),
        pa.field("group_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("attributes", pa.map_(pa.string(), pa.string()), nullable=False),
        pa.field("texts", pa.map_(pa.string(), pa.string()), nullable=False),
        pa.field("images", pa.list_(pa.string()), nullable=False),
    ]
)
QUARANTINE = pa.schema(
    [
        pa.field("source_row", pa.int64(), nullable=False),
        pa.field("product_id", pa.string()),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("row", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Product:
    """One product of a catalog; `images` are digests, the primary one first."""

    source_row: int
    product_id: str
    group_id: str
    split: str
    attributes: Mapping[str, str]
    texts: Mapping[str, str]
    images: tuple[str, ...]
    raw: Mapping[str, object]


def write_products(path: Path, products: Sequence[Product]) -> None:
    """Write products, sorted by id."""
    products = sorted(products, key=lambda product: product.product_id)
    columns: list[Sequence[object]] = [
        [product.product_id for product in products],
        [product.group_id for product in products],
        [product.split for product in products],
        [list(product.attributes.items()) for product in products],
        [list(product.texts.items()) for product in products],
        [list(product.images) for product in products],
    ]
    _write(path, PRODUCTS, columns)


def write_quarantine(path: Path, refused: Sequence[RefusedRow]) -> None:
    """Write refused rows, in the order of the source."""
    refused = sorted(refused, key=lambda row: row.source_row)
    columns: list[Sequence[object]] = [
        [row.source_row for row in refused],
        [None if row.product_id is None else printable(row.product_id) for row in refused],
        [row.refusal.stage for row in refused],
        [row.refusal.reason for row in refused],
        [printable(row.refusal.detail) for row in refused],
        [json.dumps(row.raw, default=repr) for row in refused],  # ASCII: lone surrogates are escaped
    ]
    _write(path, QUARANTINE, columns)


def read_products(catalog_dir: Path) -> pa.Table:
    """The products of a catalog folder; raises UserError when there are none."""
    path = catalog_dir / "products.parquet"
    if not path.is_file():
        raise UserError(f"{path} does not exist: run `dvc pull`, or ingest {catalog_dir.name} first")
    return pq.read_table(path, schema=PRODUCTS)


def printable(text: str) -> str:
    """`text` with lone surrogates, which no UTF-8 can hold, as backslash escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _write(path: Path, schema: pa.Schema, columns: Sequence[Sequence[object]]) -> None:
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_arrays(arrays, schema=schema), temporary, compression="zstd")

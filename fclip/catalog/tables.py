"""The tables of a catalog: products, images, quarantine, repairs."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fclip.errors import UserError

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
IMAGES = pa.schema(
    [
        pa.field("image_sha256", pa.string(), nullable=False),
        pa.field("source_width", pa.int32(), nullable=False),  # pixels of the source image
        pa.field("source_height", pa.int32(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),  # pixels of the stored image
        pa.field("height", pa.int32(), nullable=False),
        pa.field("num_bytes", pa.int32(), nullable=False),
        pa.field("brightness", pa.float32(), nullable=False),  # from here: see fclip.catalog.fingerprints
        pa.field("contrast", pa.float32(), nullable=False),
        pa.field("saturation", pa.float32(), nullable=False),
        pa.field("white_border", pa.float32(), nullable=False),
        pa.field("phash", pa.uint64(), nullable=False),
    ]
)
REPAIRS = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in ("product_id", "field", "what", "before", "after")]
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


def read_products(catalog_dir: Path) -> pa.Table:
    """Read the products of a catalog folder. Raise UserError if the table does not exist."""
    path = catalog_dir / "products.parquet"
    if not path.is_file():
        raise UserError(f"{path} does not exist; run `dvc pull`, or ingest {catalog_dir.name} first")
    return pq.read_table(path, schema=PRODUCTS)

"""Which rows of a training table a model was trained on, by digests of the rows' images and captions.

A product whose images or captions have changed since is a new row.
"""

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fclip.files import atomic_path

NUM_BYTES = 16
SCHEMA = pa.schema([("row_sha256", pa.binary(NUM_BYTES))])
OLD = "old"


def row_digests(products: pa.Table) -> list[bytes]:
    """Return 16 bytes of the SHA-256 of each row's `dataset, product_id, images, captions` (kinds and texts)."""
    return [_digest(row) for row in products.select(["dataset", "product_id", "images", "captions"]).to_pylist()]


def write_seen_rows(products: Path, path: Path) -> None:
    """Write the sorted digests of the rows of `products` in the split `train`, so that equal rows give equal bytes."""
    table = pq.read_table(products)
    digests = sorted(row_digests(table.filter(pc.equal(table["split"], "train"))))
    with atomic_path(path) as temporary:
        pq.write_table(pa.table([pa.array(digests, SCHEMA.types[0])], schema=SCHEMA), temporary)


def mark_seen_rows(products: Path, rows: Path, out: Path) -> None:
    """Write `products` to `out` with the column `old`: whether the row is in the file `rows` of `write_seen_rows`."""
    table = pq.read_table(products)
    seen = set(pq.read_table(rows)["row_sha256"].to_pylist())
    with atomic_path(out) as temporary:
        pq.write_table(table.append_column(OLD, [[digest in seen for digest in row_digests(table)]]), temporary)


def _digest(row: dict[str, object]) -> bytes:
    captions = [[caption["kind"], caption["text"]] for caption in row["captions"] or ()]  # type: ignore[attr-defined]
    content = json.dumps([row["dataset"], row["product_id"], row["images"] or [], captions])
    return hashlib.sha256(content.encode()).digest()[:NUM_BYTES]

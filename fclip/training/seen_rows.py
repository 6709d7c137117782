"""Which rows of a training table a model has seen, by digests of what training reads of them: images and captions.

A product whose photographs or texts changed since is a new row.
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
    """The first 16 bytes of the SHA-256 of each row's `dataset, product_id, images, captions` (kinds and texts)."""
    return [_digest(row) for row in products.select(["dataset", "product_id", "images", "captions"]).to_pylist()]


def write_rows(products: Path, path: Path) -> None:
    """Write the digests of the table's `train` rows, sorted, so that the same rows are the same bytes."""
    table = pq.read_table(products)
    digests = sorted(row_digests(table.filter(pc.equal(table["split"], "train"))))
    with atomic_path(path) as temporary:
        pq.write_table(pa.table([pa.array(digests, SCHEMA.types[0])], schema=SCHEMA), temporary)


def mark_old(products: Path, rows: Path, out: Path) -> None:
    """Write the table to `out` with one more column: whether its row is among those that `write_rows` wrote."""
    table = pq.read_table(products)
    seen = set(pq.read_table(rows)["row_sha256"].to_pylist())
    with atomic_path(out) as temporary:
        pq.write_table(table.append_column(OLD, [[digest in seen for digest in row_digests(table)]]), temporary)


def _digest(row: dict[str, object]) -> bytes:
    captions = [[caption["kind"], caption["text"]] for caption in row["captions"] or ()]  # type: ignore[attr-defined]
    content = json.dumps([row["dataset"], row["product_id"], row["images"] or [], captions])
    return hashlib.sha256(content.encode()).digest()[:NUM_BYTES]

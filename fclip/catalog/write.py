"""Write the tables of a catalog: products, images, quarantine, repairs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fclip.catalog.image_facts import ImageFacts
from fclip.catalog.products import Products
from fclip.catalog.repair import Repair
from fclip.catalog.rows import RefusedRow
from fclip.catalog.split_assignment import SplitAssignment
from fclip.catalog.tables import IMAGES, PRODUCTS, QUARANTINE, REPAIRS
from fclip.files import atomic_path


def write_products(path: Path, products: Products, assignment: SplitAssignment, *, digests: pa.Array) -> None:
    """Write the kept products, sorted by id. `digests` are the hex digests of the store's images, by number."""
    ids = products.table["product_id"].combine_chunks()
    rows = assignment.kept[pc.sort_indices(ids.take(pa.array(assignment.kept))).to_numpy()]
    indices = pa.array(rows)
    images = products.table["images"].combine_chunks().take(indices)
    columns = [
        ids.take(indices),
        pa.array(assignment.group_id, pa.string()).take(pa.array(assignment.group[rows])),
        pa.array(assignment.split, pa.string()).take(indices),
        _maps(
            {name: column.take(indices).cast(pa.string()) for name, column in products.attributes.items()}, len(rows)
        ),
        _maps({name: column.take(indices) for name, column in products.texts.items()}, len(rows)),
        pa.ListArray.from_arrays(images.offsets, digests.take(images.values)),
    ]
    _write(path, PRODUCTS, columns)


def write_images(path: Path, facts: ImageFacts) -> None:
    """Write the facts of distinct images, sorted by digest."""
    table = facts.to_table().drop_columns(["thumbnail"])
    digests = pa.array(facts.hex_digests(), pa.string())
    table = table.set_column(0, "image_sha256", digests).sort_by("image_sha256")
    _write(path, IMAGES, [table[name].combine_chunks() for name in IMAGES.names])


def write_quarantine(path: Path, refused: Sequence[RefusedRow]) -> None:
    """Write the refused rows in the order of the source."""
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


def write_repairs(path: Path, repairs: Sequence[Repair]) -> None:
    """Write the repairs, sorted by product id and field."""
    repairs = sorted(repairs, key=lambda repair: (repair.product_id, repair.field, repair.what))
    names = [field.name for field in REPAIRS]
    _write(path, REPAIRS, [[printable(getattr(repair, name)) for repair in repairs] for name in names])


def printable(text: str) -> str:
    """Return `text` with lone surrogates, which UTF-8 cannot encode, as backslash escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _maps(columns: Mapping[str, pa.Array], num_rows: int) -> pa.MapArray:
    """Return one map per row of the columns that are not null in it, in the order of the columns."""
    if not columns:
        return pa.array([[]] * num_rows, PRODUCTS.field("texts").type)
    present = np.stack([column.is_valid().to_numpy(zero_copy_only=False) for column in columns.values()], 1)
    rows, names = np.nonzero(present)
    values = pa.concat_arrays(list(columns.values())).take(pa.array(names * num_rows + rows))
    keys = pa.array(list(columns), pa.string()).take(pa.array(names))
    offsets = np.concatenate([[0], np.cumsum(present.sum(1))]).astype(np.int32)
    return pa.MapArray.from_arrays(pa.array(offsets), keys, values)


def _write(path: Path, schema: pa.Schema, columns: Sequence[Any]) -> None:
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_arrays(arrays, schema=schema), temporary, compression="zstd")

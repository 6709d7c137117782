"""A hub dataset's Parquet files, changed on the way: repeated many times over, or as another day finds them."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageOps

from fclip.catalog.config import HubSource
from fclip.catalog.sources.parquet import BATCH_ROWS, count_rows, parquet_files
from fclip.catalog.sources.spread import spread_rows
from fclip.errors import UserError

# Of a hundred parts that products fall into by a hash of their ids.
NEW, DELETED, CHANGED = 0, 1, 2


@dataclass(frozen=True)
class Record:
    """A row: its product id, the encoded image, and the other columns."""

    product_id: str
    image: bytes
    rest: dict[str, Any]


def records(source: HubSource, limit: int | None) -> Iterator[Record]:
    """Every row of the source that has an id and an image, or of `limit` rows spread over it."""
    files = parquet_files(Path(source.path))
    chosen = None if limit is None else spread_rows(count_rows(files), limit)
    number = 0
    for file in files:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=BATCH_ROWS):
            for row in batch.to_pylist():
                number += 1
                image = row.pop(source.image)
                image = image["bytes"] if isinstance(image, dict) else image
                product_id = row.pop(source.product_id)
                if image and product_id is not None and (chosen is None or number - 1 in chosen):
                    yield Record(str(product_id), image, row)


def write_records(rows: Iterator[Record], source: HubSource, path: Path) -> int:
    """Write rows as one Parquet file in the source's own columns, a batch in memory at a time; returns their number."""
    schema = _schema(source)
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with pq.ParquetWriter(path, schema, compression="none") as writer:
        for batch in _batches(rows, 1024):
            table = [
                {source.product_id: row.product_id, source.image: {"bytes": row.image, "path": None}, **row.rest}
                for row in batch
            ]
            writer.write_table(pa.Table.from_pylist(table, schema=schema))
            count += len(batch)
    return count


def repeated(rows: Iterator[Record], repetition: int) -> Iterator[Record]:
    """The same pictures as other products with other bytes: a comment in each JPEG, and in each id, says which."""
    for row in rows:
        name = f"repetition {repetition} of {row.product_id}"
        yield replace(row, product_id=name, image=with_comment(row.image, name.encode()))


def with_comment(jpeg: bytes, comment: bytes) -> bytes:
    """The JPEG with one comment more, right after its start: the same pixels from other bytes (ITU-T T.81, B.2.4.5)."""
    if not jpeg.startswith(b"\xff\xd8"):
        raise UserError("an image is no JPEG: only a dataset of JPEGs can be repeated")
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]


def first_day(rows: Iterator[Record]) -> Iterator[Record]:
    """The rows without the hundredth that is yet to come."""
    return (row for row in rows if part(row.product_id) != NEW)


def next_day(rows: Iterator[Record]) -> Iterator[Record]:
    """The rows of the first day, a hundredth of them gone, a hundredth with another picture, and a hundredth new."""
    for row in rows:
        place = part(row.product_id)
        if place != DELETED:
            yield replace(row, image=mirrored(row.image)) if place == CHANGED else row


def part(product_id: str) -> int:
    """Which of a hundred parts a product falls into: scattered, and always the same."""
    return int.from_bytes(hashlib.sha256(product_id.encode()).digest()[:8], "big") % 100


def mirrored(image: bytes) -> bytes:
    """The picture seen in a mirror, encoded anew."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(image)) as picture:
        ImageOps.mirror(picture).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def _schema(source: HubSource) -> pa.Schema:
    first = pq.read_schema(parquet_files(Path(source.path))[0])
    fields = [field for field in first if field.name not in (source.product_id, source.image)]
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.schema([(source.product_id, pa.string()), (source.image, image), *fields])


def _batches(rows: Iterator[Record], size: int) -> Iterator[Sequence[Record]]:
    batch: list[Record] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch

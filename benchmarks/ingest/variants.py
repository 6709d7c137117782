"""A dataset rewritten as Parquet files with images inside: repeated many times, or with the changes of a day."""

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageOps

from benchmarks.ingest.inputs import readable_rows
from fclip.catalog.config import DatasetConfig
from fclip.errors import UserError
from tasks.workspace.params import parse

# The hash buckets (of 100) of the products that are added, deleted and changed between two days.
ADDED, DELETED, CHANGED = 0, 1, 2
BATCH_ROWS = 1024


@dataclass(frozen=True)
class ProductRow:
    """A product: its id, its first image (encoded), and its texts and attributes."""

    product_id: str
    image: bytes
    cells: Mapping[str, str]


@dataclass(frozen=True)
class RewrittenDataset:
    """A dataset whose rows are written to Parquet files in `folder` before each ingest."""

    name: str
    preset: Mapping[str, Any]
    folder: Path
    limit: int | None
    texts: tuple[str, ...]
    attributes: tuple[str, ...]

    @classmethod
    def from_preset(cls, name: str, preset: Mapping[str, Any], folder: Path, limit: int | None) -> "RewrittenDataset":
        """Return the dataset `name` with its config in params/kagl.yaml, limited to `limit` rows (None: all)."""
        texts: dict[str, None] = {}
        attributes: dict[str, None] = {}
        for row in readable_rows(parse(name, dict(preset), DatasetConfig).source, limit):
            texts.update(dict.fromkeys(row.texts))
            attributes.update(dict.fromkeys(row.attributes))
        return cls(name, preset, folder, limit, tuple(texts), tuple(attributes))

    @property
    def config(self) -> dict[str, Any]:
        """The dataset's config for params.yaml."""
        source = {
            "kind": "hub",
            "path": str(self.folder),
            "product_id": "product_id",
            "image": "image",
            "texts": {name: name for name in self.texts},
            "attributes": {name: name for name in self.attributes},
        }
        return {**self.preset, "source": source}

    def rows(self) -> Iterator[ProductRow]:
        """Yield the unchanged rows that have an id and an image."""
        for row in readable_rows(parse(self.name, dict(self.preset), DatasetConfig).source, self.limit):
            if row.product_id is not None:
                content = row.images[0]
                image = content.read_bytes() if isinstance(content, Path) else content
                assert isinstance(image, bytes)
                yield ProductRow(row.product_id, image, {**row.texts, **row.attributes})

    def write(self, rows: Iterable[ProductRow], name: str) -> int:
        """Write rows to one file of the dataset, one batch in memory at a time, and return their number."""
        columns = [*self.texts, *self.attributes]
        fields = [("product_id", pa.string()), ("image", pa.binary()), *((column, pa.string()) for column in columns)]
        schema = pa.schema(fields)
        self.folder.mkdir(parents=True, exist_ok=True)
        count = 0
        with pq.ParquetWriter(self.folder / name, schema, compression="none") as writer:
            for batch in _batches(rows, BATCH_ROWS):
                table = [{"product_id": row.product_id, "image": row.image, **row.cells} for row in batch]
                writer.write_table(pa.Table.from_pylist(table, schema=schema))
                count += len(batch)
        return count


def repeated_rows(rows: Iterable[ProductRow], repetition: int) -> Iterator[ProductRow]:
    """Yield the rows as new products: a comment in each JPEG and a prefix of each id name the repetition.

    The images have other bytes and the same pixels.
    """
    for row in rows:
        name = f"repetition {repetition} of {row.product_id}"
        yield replace(row, product_id=name, image=with_comment(row.image, name.encode()))


def with_comment(jpeg: bytes, comment: bytes) -> bytes:
    """Return the JPEG with a comment segment after its start marker: other bytes, same pixels (ITU-T T.81, B.2.4.5)."""
    if not jpeg.startswith(b"\xff\xd8"):
        raise UserError("an image is not a JPEG; only a dataset of JPEGs can be repeated")
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]


def first_day_rows(rows: Iterable[ProductRow]) -> Iterator[ProductRow]:
    """Yield the rows without the 1 % that is added on the next day."""
    return (row for row in rows if hash_bucket(row.product_id) != ADDED)


def next_day_rows(rows: Iterable[ProductRow]) -> Iterator[ProductRow]:
    """Yield the first day's rows with 1 % deleted, 1 % with another image, and 1 % added."""
    for row in rows:
        bucket = hash_bucket(row.product_id)
        if bucket != DELETED:
            yield replace(row, image=mirrored(row.image)) if bucket == CHANGED else row


def hash_bucket(product_id: str) -> int:
    """Return one of 100 buckets for a product, determined by a hash of its id."""
    return int.from_bytes(hashlib.sha256(product_id.encode()).digest()[:8], "big") % 100


def mirrored(image: bytes) -> bytes:
    """Return the image flipped horizontally and encoded again."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(image)) as picture:
        ImageOps.mirror(picture).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def _batches(rows: Iterable[ProductRow], size: int) -> Iterator[Sequence[ProductRow]]:
    batch: list[ProductRow] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch

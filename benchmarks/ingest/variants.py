"""A dataset as Parquet files with images inside, changed on the way: many times over, or as another day finds it."""

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

# Of a hundred parts that products fall into by a hash of their ids.
NEW, DELETED, CHANGED = 0, 1, 2
BATCH_ROWS = 1024


@dataclass(frozen=True)
class ProductRow:
    """A row: its product id, its first image, encoded, and its texts and attributes."""

    product_id: str
    image: bytes
    cells: Mapping[str, str]


@dataclass(frozen=True)
class RewrittenDataset:
    """A dataset whose rows are written anew, into Parquet files in `folder`, before each ingest."""

    name: str
    preset: Mapping[str, Any]
    folder: Path
    limit: int | None
    texts: tuple[str, ...]
    attributes: tuple[str, ...]

    @classmethod
    def of(cls, name: str, preset: Mapping[str, Any], folder: Path, limit: int | None) -> "RewrittenDataset":
        """The shop of a dataset of params/kagl.yaml: of `limit` rows of it, or of all."""
        texts: dict[str, None] = {}
        attributes: dict[str, None] = {}
        for row in readable_rows(parse(name, dict(preset), DatasetConfig).source, limit):
            texts.update(dict.fromkeys(row.texts))
            attributes.update(dict.fromkeys(row.attributes))
        return cls(name, preset, folder, limit, tuple(texts), tuple(attributes))

    @property
    def dataset(self) -> dict[str, Any]:
        """What params.yaml says of it."""
        source = {
            "kind": "hub",
            "path": str(self.folder),
            "product_id": "product_id",
            "image": "image",
            "texts": {name: name for name in self.texts},
            "attributes": {name: name for name in self.attributes},
        }
        return {**self.preset, "source": source}

    def records(self) -> Iterator[ProductRow]:
        """The dataset's rows that have an id and an image, as they are."""
        for row in readable_rows(parse(self.name, dict(self.preset), DatasetConfig).source, self.limit):
            if row.product_id is not None:
                content = row.images[0]
                image = content.read_bytes() if isinstance(content, Path) else content
                assert isinstance(image, bytes)
                yield ProductRow(row.product_id, image, {**row.texts, **row.attributes})

    def write(self, rows: Iterable[ProductRow], name: str) -> int:
        """Write rows into one file of the shop, a batch in memory at a time; returns their number."""
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


def repeated(rows: Iterable[ProductRow], repetition: int) -> Iterator[ProductRow]:
    """The same pictures as other products with other bytes: a comment in each JPEG, and in each id, says which."""
    for row in rows:
        name = f"repetition {repetition} of {row.product_id}"
        yield replace(row, product_id=name, image=with_comment(row.image, name.encode()))


def with_comment(jpeg: bytes, comment: bytes) -> bytes:
    """The JPEG with one comment more, right after its start: the same pixels from other bytes (ITU-T T.81, B.2.4.5)."""
    if not jpeg.startswith(b"\xff\xd8"):
        raise UserError("an image is no JPEG: only a dataset of JPEGs can be repeated")
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]


def first_day_rows(rows: Iterable[ProductRow]) -> Iterator[ProductRow]:
    """The rows without the hundredth that is yet to come."""
    return (row for row in rows if part(row.product_id) != NEW)


def next_day_rows(rows: Iterable[ProductRow]) -> Iterator[ProductRow]:
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


def _batches(rows: Iterable[ProductRow], size: int) -> Iterator[Sequence[ProductRow]]:
    batch: list[ProductRow] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch

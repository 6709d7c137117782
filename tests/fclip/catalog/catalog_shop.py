"""A small test shop on disk, and the catalog that is built from it."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from fclip.catalog.config import DatasetConfig, ImageConfig, IngestConfig, IngestSettings, RowConfig
from fclip.catalog.sources.hub import HubSource
from fclip.catalog.sources.table import TableSource
from fclip.catalog.summary import IngestSummary
from fclip.mirror.config import DownloadConfig
from fclip.mirror.source_access import SourceAccess

LOCAL = DownloadConfig(allow_private=True)
IMAGE = ImageConfig(stored_side=64, max_pixels=1_000_000, jpeg_quality=92)


def ingest_config(
    dataset: DatasetConfig, *, limit: int | None = None, max_refused_fraction: float = 1.0
) -> IngestConfig:
    """The section `ingest` with the one dataset `shop`."""
    settings = IngestSettings(
        limit=limit, rows=RowConfig(max_refused_fraction=max_refused_fraction, max_text_chars=1000), image=IMAGE
    )
    return IngestConfig(settings=settings, datasets={"shop": dataset})


def jpeg(seed: int, side: int = 16) -> bytes:
    """A small JPEG with a mosaic that differs from those of all other seeds."""
    buffer = io.BytesIO()
    tiles = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(tiles).resize((side, side), Image.Resampling.NEAREST)
    image.save(buffer, "JPEG", quality=100, comment=str(seed).encode())
    return buffer.getvalue()


class Shop:
    """A folder `shop/` with a table and images, and source configs that read them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.access = SourceAccess(root, root / "mirror", LOCAL)
        self.images = root / "shop" / "images"
        self.images.mkdir(parents=True)

    def write_csv(self, lines: Sequence[str | bytes], name: str = "products.csv") -> None:
        encoded = [line.encode() if isinstance(line, str) else line for line in lines]
        (self.root / "shop" / name).write_bytes(b"\n".join(encoded) + b"\n")

    def write_images(self, count: int) -> None:
        for index in range(count):
            (self.images / f"{index}.jpg").write_bytes(jpeg(index))

    def source(self, name: str = "products.csv", **change: Any) -> TableSource:
        fields: dict[str, Any] = {
            "kind": "table",
            "path": f"shop/{name}",
            "image_folder": "shop/images",
            "product_id": "id",
            "image": "image",
            "texts": {"title": "title"},
            "attributes": {"colour": "colour"},
        }
        return TableSource(**{**fields, **change})

    def hub(self, **change: Any) -> HubSource:
        fields: dict[str, Any] = {
            "kind": "hub",
            "path": "shop/hub",
            "product_id": "id",
            "image": "image",
            "texts": {"title": "title"},
            "attributes": {"colour": "colour"},
        }
        return HubSource(**{**fields, **change})


class Built:
    """A built catalog on disk and its summary."""

    def __init__(self, root: Path, summary: IngestSummary) -> None:
        self.summary = summary
        self.catalog = root / "out" / "catalog"
        self.images = root / "out" / "images"
        self.products: list[dict[str, Any]] = pq.read_table(self.catalog / "products.parquet").to_pylist()
        self.refused: list[dict[str, Any]] = pq.read_table(self.catalog / "quarantine.parquet").to_pylist()
        self.reasons = {row["source_row"]: row["reason"] for row in self.refused}

"""The input of fclip and img2dataset: a dataset's images as local files, and one table that names them."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from benchmarks.paths import PRESET, dataset_folder
from fclip.catalog.config import DatasetConfig, IngestConfig
from fclip.catalog.pin import current_pin
from fclip.catalog.rows import Refusal, RefusedRow, SourceRow
from fclip.catalog.sources.registry import SourceConfig, read
from fclip.errors import UserError
from fclip.mirror.source_access import SourceAccess
from tasks.workspace.params import load_section, parse, read_params
from tasks.workspace.paths import Workspace
from tasks.workspace.pins import write_pin
from tasks.workspace.sources import source_access

NO_REMOTE_ACCESS = SourceAccess(root=Path("/"), mirror=Path("/nonexistent"), refresh=False)


@dataclass(frozen=True)
class IngestInput:
    """A dataset written as files. `table` (Parquet) has the name and the file:// URL of each file in `images`."""

    name: str
    table: Path
    images: Path
    texts: tuple[str, ...]
    attributes: tuple[str, ...]
    num_images: int
    num_bytes: int

    @property
    def files(self) -> list[Path]:
        """All image files, sorted by name."""
        return sorted(self.images.iterdir())

    @property
    def source(self) -> dict[str, Any]:
        """The input as a `source` of params.yaml."""
        return {
            "kind": "table",
            "path": str(self.table),
            "image_folder": str(self.images),
            "product_id": "product_id",
            "parent_id": "parent_id",
            "image": "image",
            "texts": {name: name for name in self.texts},
            "attributes": {name: name for name in self.attributes},
        }


def preset_dataset(name: str, datasets: Path) -> dict[str, Any]:
    """Return the dataset's config in params/kagl.yaml, with its folder in `datasets` as path and all rows accepted."""
    values = read_params(PRESET)["ingest"]["datasets"]
    if name not in values:
        raise UserError(f"{PRESET} has no dataset `{name}`; use one of {', '.join(values)}")
    source = {**values[name]["source"], "path": str(dataset_folder(datasets, name))}
    if source["kind"] == "clothing":
        source["not_classes"] = []  # img2dataset reads these rows too
    return {**values[name], "source": source, "roles": {}}


def write_ingest_input(name: str, datasets: Path, folder: Path, limit: int | None) -> IngestInput:
    """Write the images of a dataset and their table into `folder`.

    Args:
        limit: number of images, spread evenly over the dataset; None: all.
    """
    source = parse(name, preset_dataset(name, datasets), DatasetConfig).source
    images = folder / "images"
    images.mkdir(parents=True)
    records: list[dict[str, str | None]] = []
    texts: dict[str, None] = {}
    attributes: dict[str, None] = {}
    num_bytes = 0
    for row in readable_rows(source, limit):
        content = row.images[0]
        assert not isinstance(content, Refusal)
        path = images / f"{len(records):06d}.jpg"
        if isinstance(content, Path):
            shutil.copyfile(content, path)
        else:
            path.write_bytes(content)
        num_bytes += path.stat().st_size
        texts.update(dict.fromkeys(row.texts))
        attributes.update(dict.fromkeys(row.attributes))
        names: dict[str, str | None] = {
            "product_id": row.product_id,
            "parent_id": row.parent_id,
            "image": path.name,
            "url": path.as_uri(),
            "caption": " ".join((row.texts or row.attributes).values()),
        }
        records.append({**names, **row.texts, **row.attributes})
    columns = ["product_id", "parent_id", "image", "url", "caption", *texts, *attributes]
    schema = pa.schema([(column, pa.string()) for column in columns])
    table = folder / "products.parquet"
    pq.write_table(pa.Table.from_pylist(records, schema=schema), table)
    return IngestInput(name, table, images, tuple(texts), tuple(attributes), len(records), num_bytes)


def make_workspace(root: Path, name: str, dataset: Mapping[str, Any], limit: int | None = None) -> Workspace:
    """Create a workspace with this one dataset, configured as in params/kagl.yaml, and pin its source."""
    section = {"settings": {"limit": limit}, "datasets": {name: dict(dataset)}}
    workspace = Workspace(root)
    root.mkdir(parents=True, exist_ok=True)
    workspace.params.write_text(yaml.safe_dump({"ingest": section}, sort_keys=False), encoding="utf-8")
    config = load_section(workspace, "ingest", IngestConfig)
    access = source_access(workspace, config, name, refresh=True)
    write_pin(workspace.source_pin(name), current_pin(name, config.datasets[name], access))
    return workspace


def readable_rows(source: SourceConfig, limit: int | None) -> Iterator[SourceRow]:
    """Yield the rows of a source whose first image can be read; at most `limit` of them, spread evenly."""
    for row in read(source, NO_REMOTE_ACCESS, limit):
        if not isinstance(row, RefusedRow) and row.images and not isinstance(row.images[0], Refusal):
            yield row

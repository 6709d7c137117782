"""kagl with the embeddings of fclip-tiny, published by the pipeline's own steps."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import yaml

from benchmarks.paths import REPOSITORY
from benchmarks.search.inputs import NUM_TUNING, Inputs, filters_by_share, write_inputs
from benchmarks.workspaces import lay_out_workspace
from fclip.base_models.fclip_tiny import FclipTinyConfig
from fclip.registry.versions import VersionPin
from fclip.search.catalog import Catalog
from fclip.search.manifest import CATALOG, read_manifest
from fclip.search.published import Published
from fclip.search.ranking import FloatArray
from tasks import embed
from tasks.base_model import base_model_folder
from tasks.publish import publish
from tasks.workspace.paths import Workspace
from tasks.workspace.pins import write_pin

NAME = "kagl"
CODE = ("fclip", "tasks", "flows")


def embed_kagl(workspace: Workspace, datasets: Path, limit: int | None) -> None:
    """Lay out the workspace and embed its products with fclip-tiny, unless it has embeddings. It takes minutes."""
    if not (workspace.embeddings / "manifest.json").is_file():
        lay_out_workspace(workspace.root, datasets, [NAME], limit=limit, device="cpu")
        model = base_model_folder(workspace, FclipTinyConfig(kind="fclip-tiny"))
        write_pin(workspace.champion_pin, VersionPin("fclip-tiny", 1, model.name))
        embed.main(workspace)


def copy_code(workspace: Workspace) -> None:
    """Give the workspace this code, which its commands run."""
    for name in CODE:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, workspace.root / name, ignore=ignored, dirs_exist_ok=True)
    shutil.copyfile(REPOSITORY / "dvc.yaml", workspace.root / "dvc.yaml")


def publish_kagl(workspace: Workspace) -> Path:
    """Publish an approximate index of the embeddings, and return its folder."""
    params = yaml.safe_load(workspace.params.read_text(encoding="utf-8"))
    params["search"] = {"exact_below": 0}
    workspace.params.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    publish(workspace)
    published = Published.find(workspace.root)
    return published.index_folder(published.pointer("champion").current)


def write_kagl(folder: Path, workspace: Workspace, index: Path, num_queries: int) -> Inputs:
    """Write the inputs to `folder`. Half of the queries are embeddings of titles, the others are those of images."""
    filters = filters_by_share(Catalog(index / CATALOG), read_manifest(index).num_products)
    queries, tuning = _queries(workspace.embeddings, num_queries, seed=0), _queries(workspace.embeddings, NUM_TUNING, 1)
    return write_inputs(folder, index, filters, queries, tuning)


def _queries(embeddings: Path, number: int, seed: int) -> FloatArray:
    draw = np.random.default_rng(seed)
    parts = []
    for name, size in (("texts", number // 2), ("images", number - number // 2)):
        column = pq.read_table(embeddings / f"{name}.parquet", columns=["embedding"])["embedding"].combine_chunks()
        vectors = column.flatten().to_numpy().reshape(len(column), -1)
        parts.append(vectors[draw.choice(len(vectors), size)])
    return np.concatenate(parts).astype(np.float32)

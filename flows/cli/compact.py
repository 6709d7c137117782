"""The command `compact`: delete the images that no product uses from the workspace and the DVC cache (takedown)."""

import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from fclip.errors import UserError
from fclip.files import read_json
from flows.cli.here import workspace_here
from flows.cli.terminal import console
from flows.pipeline import stage_environment
from tasks.workspace.lock import run_lock
from tasks.workspace.paths import Workspace


def compact(
    datasets: Annotated[
        list[str] | None, typer.Argument(help="Names of datasets in `ingest.datasets`. Default: all datasets.")
    ] = None,
) -> None:
    """Remove the images of deleted products from the image packs and the DVC cache, and merge small packs."""
    workspace = workspace_here()
    with run_lock(workspace, "fclip compact"):
        for done in compact_datasets(workspace, datasets or []):
            console.print(done.summary, highlight=False)
    console.print(
        "Copies may remain in DVC remotes and in other workspaces. Run `dvc gc --workspace --cloud` to prune a remote, "
        "and `fclip compact` in every other workspace that ingested the same catalog.",
        highlight=False,
    )


@dataclass(frozen=True)
class DatasetCompaction:
    """The result of the command for one dataset.

    Attributes:
        num_dropped: images that no product uses, deleted from data/images.
        removed_packs: packs that contained such images, or were merged with others.
        num_deleted_from_cache: removed packs that were also deleted from the DVC cache.
    """

    dataset: str
    num_dropped: int
    removed_packs: tuple[str, ...]
    num_deleted_from_cache: int

    @property
    def summary(self) -> str:
        """One line about the result, for people."""
        if not self.removed_packs:
            return f"{self.dataset}: every image belongs to a product; nothing to do"
        return (
            f"{self.dataset}: deleted {self.num_dropped} images that no product uses; replaced "
            f"{len(self.removed_packs)} packs and deleted {self.num_deleted_from_cache} of them from the DVC cache"
        )


def compact_datasets(workspace: Workspace, datasets: list[str]) -> list[DatasetCompaction]:
    """Compact `datasets` (all if empty): first the image store, then data/images by running `ingest` again.

    The downloads of the deleted images are deleted too, and so are the pixel cache and interrupted trainings, which may
    contain decoded copies. The stage `ingest` runs again (without decoding) so that dvc.lock matches data/images. Then
    the replaced packs are deleted from the DVC cache, which all workspaces share. `dvc gc --cloud` deletes them from
    remotes.

    Raises:
        UserError: a dataset is unknown, or its ingest fails, e.g. because its source changed since it was pinned.
    """
    from flows.params import load_params

    known = list(load_params(workspace).ingest.datasets)
    if unknown := [name for name in datasets if name not in known]:
        raise UserError(f"ingest.datasets of params.yaml: no dataset `{unknown[0]}`; it has {', '.join(known)}")
    return [_compact(workspace, name) for name in datasets or known]


def _compact(workspace: Workspace, dataset: str) -> DatasetCompaction:
    import pyarrow.parquet as pq

    from fclip.catalog.compaction import compact_store
    from fclip.mirror.store import MirrorStore

    _ingest(workspace, dataset)  # the catalog now matches the source
    products = workspace.catalog(dataset) / "products.parquet"
    lists = pq.read_table(products, columns=["images"])["images"].to_pylist()
    before = {pack.name: _md5(pack) for pack in workspace.images(dataset).glob("pack-*.parquet")}
    num_before = _num_images(workspace, dataset)
    done = compact_store(workspace.ingest_cache(dataset) / "images", {image for images in lists for image in images})
    if done.sources and workspace.mirror.is_dir():
        MirrorStore(workspace.mirror).drop(done.sources)  # what was downloaded of them
    for folder in (workspace.pixel_cache, workspace.training_cache):
        if done.sources and folder.is_dir():
            shutil.rmtree(folder)  # may contain decoded copies
    _ingest(workspace, dataset, "--force")
    gone = sorted(before.keys() - {pack.name for pack in workspace.images(dataset).glob("pack-*.parquet")})
    uncached = [path for name in gone for path in _cached(workspace, before[name])]
    for path in uncached:
        path.unlink()
    return DatasetCompaction(dataset, num_before - _num_images(workspace, dataset), tuple(gone), len(uncached))


def _ingest(workspace: Workspace, dataset: str, *options: str) -> None:
    stage = f"ingest@{dataset}"
    status = workspace.stage_status(stage)
    status.unlink(missing_ok=True)
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", *options, stage]
    result = subprocess.run(command, cwd=workspace.root, env=stage_environment(), capture_output=True, text=True)
    if result.returncode != 0:
        message = read_json(status)["message"] if status.exists() else f"{result.stdout}{result.stderr}".strip()
        raise UserError(f"{stage}: {message}")


def _num_images(workspace: Workspace, dataset: str) -> int:
    import pyarrow.parquet as pq

    packs = workspace.images(dataset).glob("pack-*.parquet")
    return sum(pq.read_metadata(pack).num_rows for pack in packs)


def _cached(workspace: Workspace, md5: str) -> list[Path]:
    """The file in the DVC cache with this digest, or an empty list (dvc.org/doc/user-guide/project-structure)."""
    command = [sys.executable, "-m", "dvc", "cache", "dir"]
    result = subprocess.run(command, cwd=workspace.root, capture_output=True, text=True, check=True)
    path = (workspace.root / result.stdout.strip()) / "files" / "md5" / md5[:2] / md5[2:]
    return [path] if path.exists() else []


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()

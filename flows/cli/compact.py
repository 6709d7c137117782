"""The command `compact`: images that no product shows leave the workspace and the DVC cache (a takedown)."""

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
from flows.cli.terminal import console, workspace_here
from flows.pipeline import stage_environment
from tasks.workspace.lock import lock
from tasks.workspace.paths import Workspace


def compact(
    datasets: Annotated[
        list[str] | None, typer.Argument(help="Names in ingest.datasets; all, if none is given.")
    ] = None,
) -> None:
    """Take the images of deleted products out of the packs and the DVC cache (takedown); join small packs."""
    workspace = workspace_here()
    with lock(workspace.run_lock, f"a run holds {workspace.root}: wait for it to end"):
        for done in compact_datasets(workspace, datasets or []):
            console.print(done.said, highlight=False)
    console.print(
        "Copies remain where packs were pushed or copied to: `dvc gc --workspace --cloud` prunes a DVC remote, "
        "and other workspaces that ingested the same catalog are compacted there.",
        highlight=False,
    )


@dataclass(frozen=True)
class Compacted:
    """What became of one dataset.

    Attributes:
        num_dropped: images that no product shows, gone from data/images.
        packs_gone: packs that held them, or were joined with others.
        num_uncached: how many of those packs the DVC cache had.
    """

    dataset: str
    num_dropped: int
    packs_gone: tuple[str, ...]
    num_uncached: int

    @property
    def said(self) -> str:
        """What was done, in one line."""
        if not self.packs_gone:
            return f"{self.dataset}: every image is of a product; nothing to do"
        return (
            f"{self.dataset}: {self.num_dropped} images of no product are gone; {len(self.packs_gone)} packs were "
            f"written anew, and {self.num_uncached} old ones deleted from the DVC cache"
        )


def compact_datasets(workspace: Workspace, datasets: list[str]) -> list[Compacted]:
    """Compact `datasets` (all, if none are given): the image store first, then data/images, by a new ingest.

    What was downloaded of the dropped images goes too, and with it all pixels that are kept for training, and training
    that was interrupted.
    The stage runs again (it decodes nothing) so that dvc.lock says what data/images holds. Then the packs that are
    gone are deleted from the DVC cache too, which other workspaces share; copies on remotes are for `dvc gc --cloud`.

    Raises:
        UserError: an unknown dataset, or an ingest that fails, as when its source changed since it was pinned.
    """
    from flows.params import load_params

    known = list(load_params(workspace).ingest.datasets)
    if unknown := [name for name in datasets if name not in known]:
        raise UserError(f"no dataset `{unknown[0]}` in ingest.datasets of params.yaml: there are {', '.join(known)}")
    return [_compact(workspace, name) for name in datasets or known]


def _compact(workspace: Workspace, dataset: str) -> Compacted:
    import pyarrow.parquet as pq

    from fclip.catalog.compaction import compact_store
    from fclip.mirror.store import MirrorStore

    _ingest(workspace, dataset)  # what the source is now says what is gone
    products = workspace.catalog(dataset) / "products.parquet"
    lists = pq.read_table(products, columns=["images"])["images"].to_pylist()
    before = {pack.name: _md5(pack) for pack in workspace.images(dataset).glob("pack-*.parquet")}
    num_before = _num_images(workspace, dataset)
    done = compact_store(workspace.ingest_cache(dataset) / "images", {image for images in lists for image in images})
    if done.sources and workspace.mirror.is_dir():
        MirrorStore(workspace.mirror).drop(done.sources)  # what was downloaded of them
    for folder in (workspace.pixel_cache, workspace.training_cache):
        if done.sources and folder.is_dir():
            shutil.rmtree(folder)  # decoded images
    _ingest(workspace, dataset, "--force")
    gone = sorted(before.keys() - {pack.name for pack in workspace.images(dataset).glob("pack-*.parquet")})
    uncached = [path for name in gone for path in _cached(workspace, before[name])]
    for path in uncached:
        path.unlink()
    return Compacted(dataset, num_before - _num_images(workspace, dataset), tuple(gone), len(uncached))


def _ingest(workspace: Workspace, dataset: str, *options: str) -> None:
    stage = f"ingest@{dataset}"
    status = workspace.stage_status(stage)
    status.unlink(missing_ok=True)
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", *options, stage]
    result = subprocess.run(command, cwd=workspace.root, env=stage_environment(), capture_output=True, text=True)
    if result.returncode != 0:
        said = read_json(status)["message"] if status.exists() else f"{result.stdout}{result.stderr}".strip()
        raise UserError(f"{stage}: {said}")


def _num_images(workspace: Workspace, dataset: str) -> int:
    import pyarrow.parquet as pq

    packs = workspace.images(dataset).glob("pack-*.parquet")
    return sum(pq.read_metadata(pack).num_rows for pack in packs)


def _cached(workspace: Workspace, md5: str) -> list[Path]:
    """The file of DVC's cache with this digest, if it is there (dvc.org/doc/user-guide/project-structure)."""
    command = [sys.executable, "-m", "dvc", "cache", "dir"]
    result = subprocess.run(command, cwd=workspace.root, capture_output=True, text=True, check=True)
    path = (workspace.root / result.stdout.strip()) / "files" / "md5" / md5[:2] / md5[2:]
    return [path] if path.exists() else []


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()

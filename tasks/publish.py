"""Effect `publish`: let search see the new embeddings, by switching one pointer.

`published/<digest>/` holds a set of embeddings that never changes; `published/current.json` names the one that
search reads. The set before stays, so that a reader in the middle of a query loses nothing.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from fclip.errors import UserError
from fclip.files import atomic_dir, link_or_copy, read_json, sha256_tree, write_json
from tasks.workspace.paths import Workspace


@dataclass(frozen=True)
class Publication:
    """What search reads now. `changed` is False when it already did."""

    digest: str
    model_sha256: str
    num_products: int
    changed: bool


def publish(workspace: Workspace) -> Publication:
    """Copy `data/embeddings` (by hard links where they work) to a folder of its digest and point search to it."""
    manifest = read_json(workspace.embeddings / "manifest.json")
    digest = sha256_tree(workspace.embeddings)
    folder = workspace.published / digest
    before = current(workspace) if workspace.published_pointer.exists() else None
    if not folder.exists():
        with atomic_dir(folder) as temporary:
            for file in workspace.embeddings.iterdir():
                link_or_copy(file, temporary / file.name)
    if before != folder:
        write_json(workspace.published_pointer, {"embeddings": digest, "model_sha256": manifest["model_sha256"]})
        for old in workspace.published.iterdir():
            if old.is_dir() and old not in (folder, before):
                shutil.rmtree(old)
    return Publication(digest, manifest["model_sha256"], manifest["num_products"], before != folder)


def current(workspace: Workspace) -> Path:
    """The folder of embeddings that search reads; raises UserError while nothing is published."""
    if not workspace.published_pointer.exists():
        raise UserError(f"nothing is published in {workspace.root} yet: run `fclip retrain`")
    folder = workspace.published / str(read_json(workspace.published_pointer)["embeddings"])
    if not folder.is_dir():
        raise UserError(f"{workspace.published_pointer} points to {folder.name}, which is gone: run `fclip retrain`")
    return folder

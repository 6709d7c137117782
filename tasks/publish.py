"""The step `publish`: make the new embeddings available to search by switching one pointer.

`published/<digest>/` contains embeddings that never change; `published/current.json` names the folder that search
reads. The previous folder is kept for readers that still use it.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from fclip.errors import UserError
from fclip.files import atomic_dir, link_or_copy, read_json, sha256_tree, write_json
from tasks.workspace.paths import Workspace


@dataclass(frozen=True)
class Publication:
    """The published embeddings. `changed`: whether the pointer moved to them."""

    digest: str
    model_sha256: str
    num_products: int
    changed: bool


def publish(workspace: Workspace) -> Publication:
    """Copy `data/embeddings` to the folder of its digest, with hard links if possible, and point search to it."""
    manifest = read_json(workspace.embeddings / "manifest.json")
    digest = sha256_tree(workspace.embeddings)
    folder = workspace.published / digest
    before = current_embeddings(workspace) if workspace.published_pointer.exists() else None
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


def current_embeddings(workspace: Workspace) -> Path:
    """Return the folder of embeddings that search reads; raises UserError if none are published."""
    if not workspace.published_pointer.exists():
        raise UserError(f"{workspace.root} has no published embeddings; run `fclip retrain`")
    folder = workspace.published / str(read_json(workspace.published_pointer)["embeddings"])
    if not folder.is_dir():
        raise UserError(
            f"{workspace.published_pointer} points to {folder.name}, which does not exist; run `fclip retrain`"
        )
    return folder

"""The code and data that a model was made from."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from fclip.files import sha256_json

UNKNOWN = "none"
# Every run writes these files; a change to any other file makes the commit dirty.
OWN_FILES = (":(exclude)dvc.lock", ":(exclude)pins")
DOWNSTREAM_STAGES = frozenset({"audit", "embed"})  # do not lead to the model


@dataclass(frozen=True)
class Lineage:
    """The lineage of a model.

    Attributes:
        git_commit: full hash; `none` without git.
        git_dirty: whether files other than dvc.lock and pins/ differ from it.
        dvc_lock_sha256: digest of the stages that lead to the model; `none` without a dvc.lock.
    """

    git_commit: str
    git_dirty: bool
    dvc_lock_sha256: str


def lineage(root: Path) -> Lineage:
    """Return the lineage of the current content of the workspace `root`."""
    commit = _git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    changes = _git(root, "status", "--porcelain", "--", ".", *OWN_FILES)
    return Lineage(
        git_commit=commit or UNKNOWN,
        git_dirty=bool(changes),
        dvc_lock_sha256=upstream_lock_sha256(root / "dvc.lock"),
    )


def upstream_lock_sha256(dvc_lock: Path) -> str:
    """Return the digest of dvc.lock without the stages after the selection; `none` if the file is missing."""
    if not dvc_lock.is_file():
        return UNKNOWN
    stages = (yaml.safe_load(dvc_lock.read_text(encoding="utf-8")) or {}).get("stages", {})
    upstream = {name: entry for name, entry in stages.items() if name.partition("@")[0] not in DOWNSTREAM_STAGES}
    return sha256_json(upstream)


def _git(root: Path, *arguments: str) -> str:
    """Return the output of a git command; "" without git or outside a repository."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""

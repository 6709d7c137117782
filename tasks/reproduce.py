"""Whether the outputs in a workspace are those that dvc.lock records, judged by the bytes on disk."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from fclip.errors import UserError
from fclip.files import open_regular, sha256_tree
from tasks.workspace.paths import Workspace


@dataclass(frozen=True)
class RecordedOutput:
    """An output of a stage as dvc.lock records it.

    Attributes:
        path: relative to the root of the workspace.
        md5: DVC's digest (`dvc_md5`).
    """

    stage: str
    path: str
    md5: str
    num_bytes: int


@dataclass(frozen=True)
class Comparison:
    """A recorded digest, and the digest of what is on disk; None if there is nothing."""

    recorded: str
    found: str | None

    @property
    def result(self) -> Literal["equal", "different", "missing"]:
        if self.found is None:
            return "missing"
        return "equal" if self.found == self.recorded else "different"


@dataclass(frozen=True)
class Reproduction:
    """The comparison of a workspace with what was recorded for a registered version.

    Attributes:
        outputs: the outputs of dvc.lock with their digests by DVC.
        model: models/selected by `sha256_tree`, the digest of the registered version.
    """

    outputs: tuple[tuple[RecordedOutput, Comparison], ...]
    model: Comparison

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        return (*(comparison for _, comparison in self.outputs), self.model)

    @property
    def is_equal(self) -> bool:
        """Whether every digest is the recorded one."""
        return all(comparison.result == "equal" for comparison in self.comparisons)


def recorded_outputs(workspace: Workspace) -> list[RecordedOutput]:
    """Read all outputs in dvc.lock, in its order. Raises UserError without the file."""
    if not workspace.dvc_lock.is_file():
        raise UserError(f"{workspace.dvc_lock} does not exist: this commit records no outputs to compare with")
    stages = yaml.safe_load(workspace.dvc_lock.read_text(encoding="utf-8"))["stages"]
    return [
        RecordedOutput(stage, out["path"], out["md5"], out["size"])
        for stage, entry in stages.items()
        for out in entry.get("outs", [])
    ]


def compare(workspace: Workspace, recorded: Sequence[RecordedOutput], model_sha256: str) -> Reproduction:
    """Compare what is on disk with the recorded outputs, and models/selected with the digest of a version."""
    selected = sha256_tree(workspace.selected) if workspace.selected.is_dir() else None
    return Reproduction(
        outputs=tuple((each, Comparison(each.md5, dvc_md5(workspace.root / each.path))) for each in recorded),
        model=Comparison(model_sha256, selected),
    )


def dvc_md5(path: Path) -> str | None:
    """Return DVC's digest of a file or folder, as in dvc.lock; None if it does not exist.

    Reads every byte: DVC itself trusts the digest of a file whose time and size are as it last saw them. The digest of
    a folder is that of the sorted list of its files' names and digests, with the suffix `.dir`.
    """
    if path.is_file():
        return _md5(path)
    if not path.is_dir():
        return None
    files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
    entries = [{"md5": _md5(files[name]), "relpath": name} for name in sorted(files)]
    return hashlib.md5(json.dumps(entries).encode(), usedforsecurity=False).hexdigest() + ".dir"


def _md5(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()

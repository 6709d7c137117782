"""The closing commit: what makes any registered version reproducible from its number.

DVC push (where a remote is set) -> commit of dvc.lock and pins/ by name -> tag on the registry version ->
git push (where the branch has an upstream).
"""

import logging
import subprocess
import sys
from dataclasses import dataclass

from fclip.errors import UserError
from tasks.workspace.params import Base, load_section
from tasks.workspace.paths import Workspace

logger = logging.getLogger(__name__)

CLOSING = ("dvc.lock", "pins")


@dataclass(frozen=True)
class Closing:
    """What a closing commit did, or (`commit` None) what it would have committed."""

    commit: str | None
    changed: tuple[str, ...]
    dvc_pushed: bool
    git_pushed: bool


def require_clean(workspace: Workspace) -> None:
    """Refuse tracked files that are modified, other than dvc.lock and pins/: the commit would not say what ran."""
    modified = [path for path in _status(workspace, "--untracked-files=no") if not _is_closing(path)]
    if modified:
        raise UserError(
            f"{workspace.root} has uncommitted changes in {', '.join(modified)}: a run that commits needs every other "
            "tracked file as committed; commit or restore them"
        )


def close(workspace: Workspace, *, message: str, version: int | None) -> Closing:
    """Push the data, commit dvc.lock and pins/ (nothing else, whatever else is staged), tag, push the commit.

    `version` (None: the run registered nothing) is tagged in the registry with the commit that reproduces it.
    With nothing to commit, `commit` is the present HEAD: the same inputs gave the same outputs.
    """
    dvc_pushed = has_remote(workspace)
    if dvc_pushed:
        _run(workspace, sys.executable, "-m", "dvc", "push", "--quiet")
    changed = pending(workspace)
    if changed:
        _run(workspace, "git", "add", "--", *_existing(workspace))
        _run(workspace, "git", "commit", "--quiet", "--message", message, "--", *_existing(workspace))
    commit = head(workspace)
    if version is not None:
        from fclip.registry import store, tags  # mlflow takes seconds to import

        base = load_section(workspace, "base", Base)
        store.set_version_tag(base.registered_model, version, tags.CLOSING_COMMIT, commit)
    git_pushed = _has_upstream(workspace)
    if git_pushed:
        _run(workspace, "git", "push", "--quiet")
    return Closing(commit, changed, dvc_pushed, git_pushed)


def pending(workspace: Workspace) -> tuple[str, ...]:
    """What of dvc.lock and pins/ differs from HEAD or is not yet tracked: what `close` would commit."""
    return tuple(path for path in _status(workspace, "--untracked-files=all") if _is_closing(path))


def head(workspace: Workspace) -> str:
    """The full hash of HEAD."""
    return _run(workspace, "git", "rev-parse", "HEAD").strip()


def has_remote(workspace: Workspace) -> bool:
    """Whether DVC has a default remote to push to."""
    result = subprocess.run(
        [sys.executable, "-m", "dvc", "config", "core.remote"], cwd=workspace.root, capture_output=True, text=True
    )
    return result.returncode == 0 and bool(result.stdout.strip())


def _has_upstream(workspace: Workspace) -> bool:
    command = ["git", "rev-parse", "--abbrev-ref", "--symbolic-full-name", "@{upstream}"]
    return subprocess.run(command, cwd=workspace.root, capture_output=True).returncode == 0


def _existing(workspace: Workspace) -> list[str]:
    return [name for name in CLOSING if (workspace.root / name).exists()]


def _is_closing(path: str) -> bool:
    return path == "dvc.lock" or path.startswith("pins/")


def _status(workspace: Workspace, untracked: str) -> list[str]:
    lines = _run(workspace, "git", "status", "--porcelain", "-z", untracked).split("\0")
    return sorted(line[3:] for line in lines if line)


def _run(workspace: Workspace, *command: str) -> str:
    result = subprocess.run(command, cwd=workspace.root, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if result.returncode != 0:
        said = (result.stderr or result.stdout).strip()
        raise UserError(f"`{' '.join(command[:4])}` failed in {workspace.root}: {said}")
    return result.stdout

"""The closing commit, which makes every registered version reproducible.

DVC push (if a remote is set) -> commit of dvc.lock and pins/ by name -> tag of the registry version -> git push (if the
branch has an upstream).
"""

import logging
import subprocess
import sys
from dataclasses import dataclass

from fclip.errors import UserError
from tasks.workspace.params import Base, load_section
from tasks.workspace.paths import Workspace

logger = logging.getLogger(__name__)

CLOSING_PATHS = ("dvc.lock", "pins")


@dataclass(frozen=True)
class ClosingCommit:
    """The result of a closing commit.

    Attributes:
        commit: hash of HEAD after the commit; None if no commit was made.
        changed: committed paths, or paths to commit if no commit was made.
    """

    commit: str | None
    changed: tuple[str, ...]
    dvc_pushed: bool
    git_pushed: bool


def require_clean(workspace: Workspace) -> None:
    """Raise UserError if tracked files other than dvc.lock and pins/ are modified: the commit must match the run."""
    modified = [path for path in _status(workspace, "--untracked-files=no") if not _is_closing(path)]
    if modified:
        raise UserError(
            f"{workspace.root} has uncommitted changes in {', '.join(modified)}; "
            "commit or restore them before a run that ends with the closing commit"
        )


def make_closing_commit(workspace: Workspace, *, message: str, version: int | None) -> ClosingCommit:
    """Push the data to DVC, commit only dvc.lock and pins/, tag the registry version and push the commit.

    Args:
        version: registry version to tag with the commit hash; None if the run registered no version.

    Without changes, no commit is made and `ClosingCommit.commit` is the current HEAD.
    """
    dvc_pushed = has_remote(workspace)
    if dvc_pushed:
        _run(workspace, sys.executable, "-m", "dvc", "push", "--quiet")
    changed = pending_changes(workspace)
    if changed:
        _run(workspace, "git", "add", "--", *_existing(workspace))
        _run(workspace, "git", "commit", "--quiet", "--message", message, "--", *_existing(workspace))
    commit = head_commit(workspace)
    if version is not None:
        from fclip.registry import store, tags  # mlflow takes seconds to import

        base = load_section(workspace, "base", Base)
        store.set_version_tag(base.registered_model, version, tags.CLOSING_COMMIT, commit)
    git_pushed = _has_upstream(workspace)
    if git_pushed:
        _run(workspace, "git", "push", "--quiet")
    return ClosingCommit(commit, changed, dvc_pushed, git_pushed)


def pending_changes(workspace: Workspace) -> tuple[str, ...]:
    """The changed or untracked paths among dvc.lock and pins/, which `make_closing_commit` would commit."""
    return tuple(path for path in _status(workspace, "--untracked-files=all") if _is_closing(path))


def head_commit(workspace: Workspace) -> str:
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
    return [name for name in CLOSING_PATHS if (workspace.root / name).exists()]


def _is_closing(path: str) -> bool:
    return path == "dvc.lock" or path.startswith("pins/")


def _status(workspace: Workspace, untracked: str) -> list[str]:
    lines = _run(workspace, "git", "status", "--porcelain", "-z", untracked).split("\0")
    return sorted(line[3:] for line in lines if line)


def _run(workspace: Workspace, *command: str) -> str:
    result = subprocess.run(command, cwd=workspace.root, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if result.returncode != 0:
        output = (result.stderr or result.stdout).strip()
        raise UserError(f"`{' '.join(command[:4])}` failed in {workspace.root}: {output}")
    return result.stdout

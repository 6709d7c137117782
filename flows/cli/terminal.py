"""Where commands print, and the workspace that they work on."""

import os
import sys
from pathlib import Path

from rich.console import Console

from fclip.errors import UserError
from tasks.workspace.paths import Workspace

console = Console(width=None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", "120")))
errors = Console(stderr=True, highlight=False)


def workspace_here() -> Workspace:
    """The workspace of the current folder."""
    return find_workspace(Path.cwd())


def find_workspace(folder: Path) -> Workspace:
    """The workspace that `folder` lies in: the nearest folder upwards with params.yaml and dvc.yaml."""
    for candidate in (folder, *folder.parents):
        if (candidate / "params.yaml").is_file() and (candidate / "dvc.yaml").is_file():
            return Workspace(candidate)
    raise UserError(f"{folder} is not in a workspace (a folder with params.yaml and dvc.yaml): cd to one")


def enter_workspace(arguments: list[str]) -> None:
    """Where the current folder's workspace has code of its own, become `fclip arguments` by that code, in its root."""
    try:
        workspace = find_workspace(Path.cwd())
    except UserError:
        return  # for --help; commands ask again and say so
    home = Path(__file__).resolve().parents[2]
    if workspace.root.resolve() == home:
        return
    if not (workspace.root / "flows" / "cli" / "__main__.py").is_file():
        raise UserError(f"{workspace.root} has params.yaml but not fclip's code: make it with `fclip workspace new`")
    os.chdir(workspace.root)
    os.environ["PYTHONPATH"] = str(workspace.root)
    os.execv(sys.executable, [sys.executable, "-m", "flows.cli", *arguments])

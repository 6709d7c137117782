"""The workspace of the current folder, and the switch to its code."""

import os
import sys
from pathlib import Path

from fclip.errors import UserError
from tasks.workspace.paths import Workspace

IN_ANY_FOLDER = ("embed", "classify", "serve")  # commands that keep the current folder, also in a workspace


def workspace_here() -> Workspace:
    """The workspace of the current folder."""
    return find_workspace(Path.cwd())


def workspace_or_none() -> Workspace | None:
    """The workspace of the current folder; None outside of a workspace."""
    try:
        return workspace_here()
    except UserError:
        return None


def find_workspace(folder: Path) -> Workspace:
    """Return the workspace that contains `folder`: the nearest folder upwards with params.yaml and dvc.yaml.

    Raises:
        UserError: there is no such folder.
    """
    for candidate in (folder, *folder.parents):
        if (candidate / "params.yaml").is_file() and (candidate / "dvc.yaml").is_file():
            return Workspace(candidate)
    raise UserError(f"{folder} is not in a workspace; change to a folder with params.yaml and dvc.yaml")


def enter_workspace(arguments: list[str]) -> None:
    """Replace this process by `fclip arguments` with the code of the current workspace, unless it runs already.

    Raises:
        UserError: the workspace contains no code.
    """
    if next((each for each in arguments if not each.startswith("-")), None) in IN_ANY_FOLDER:
        return
    try:
        workspace = find_workspace(Path.cwd())
    except UserError:
        return  # `--help` needs no workspace; other commands raise the error themselves
    home = Path(__file__).resolve().parents[2]
    if workspace.root.resolve() == home:
        return
    if not (workspace.root / "flows" / "cli" / "__main__.py").is_file():
        raise UserError(f"{workspace.root} contains no fclip code; create workspaces with `fclip workspace new`")
    os.chdir(workspace.root)
    os.environ["PYTHONPATH"] = str(workspace.root)
    os.execv(sys.executable, [sys.executable, "-m", "flows.cli", *arguments])

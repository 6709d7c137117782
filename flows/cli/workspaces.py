"""Commands on workspaces: `workspace new` and `workspace list`.

A workspace is one catalog: a git worktree that shares one DVC cache with the others.
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from fclip.errors import UserError
from fclip.files import atomic_write, write_json
from flows.cli.terminal import console, workspace_here
from tasks.workspace.params import read_params
from tasks.workspace.paths import Workspace

workspace_app = typer.Typer(no_args_is_help=True, help="Workspaces: one catalog each, with one DVC cache.")


@dataclass(frozen=True)
class Created:
    """A new workspace and the branch it is on."""

    workspace: Workspace
    branch: str
    registered_model: str


@workspace_app.command("new")
def workspace_new(
    path: Annotated[Path, typer.Argument(help="A folder that does not exist yet, beside this one.")],
    params: Annotated[Path, typer.Option(help="A preset of params/, or a params.yaml of your own.")],
) -> None:
    """Make a workspace: a git worktree with its own branch, params, pins, outputs and registered model."""
    created = new_workspace(workspace_here(), path.resolve(), params.resolve())
    console.print(
        f"workspace {created.workspace.root} on branch {created.branch}, registers as {created.registered_model}"
    )
    console.print(
        f"next: edit {created.workspace.params}, then `make retrain WORKSPACE={path}` or `fclip retrain` there"
    )


@workspace_app.command("list")
def workspace_list() -> None:
    """The workspaces of this repository."""
    for workspace in list_workspaces(workspace_here()):
        console.print(str(workspace.root), highlight=False)


def new_workspace(home: Workspace, path: Path, params: Path) -> Created:
    """Make a worktree at `path` on a branch of its own, with `params` as its params.yaml and empty pins.

    It registers as `fclip-<folder>`. The DVC cache is `home`'s, so that what one workspace computed another restores.
    Ends with a commit on the new branch, so that runs which commit find a clean tree.
    """
    from flows.params import load_params

    if path.exists():
        raise UserError(f"{path} already exists: name a folder that does not, or remove it")
    if not params.is_file():
        presets = ", ".join(sorted(f"params/{preset.name}" for preset in (home.root / "params").glob("*.yaml")))
        raise UserError(f"{params} does not exist: presets are {presets}")
    text = _own_params(home, params, path.name)
    branch = f"workspace/{path.name}"
    _git(home.root, "worktree", "add", "--quiet", "-b", branch, str(path))
    workspace = Workspace(path.resolve())
    try:
        atomic_write(workspace.params, text)
        loaded = load_params(workspace)
        _reset_pins(workspace, list(loaded.ingest.datasets))
        workspace.dvc_lock.unlink(missing_ok=True)
        _share_cache(home, workspace)
        _git(workspace.root, "add", "--", "params.yaml", "pins")
        _git(workspace.root, "rm", "--quiet", "--cached", "--ignore-unmatch", "--", "dvc.lock")
        _git(workspace.root, "commit", "--quiet", "--message", f"Workspace {path.name}: params and empty pins")
    except BaseException:
        _git(home.root, "worktree", "remove", "--force", str(path))
        _git(home.root, "branch", "-D", branch)
        raise
    return Created(workspace, branch, loaded.base.registered_model)


def list_workspaces(home: Workspace) -> list[Workspace]:
    """Every workspace of this repository, the present one's siblings and main checkout included."""
    lines = _git(home.root, "worktree", "list", "--porcelain").splitlines()
    paths = [Path(line.removeprefix("worktree ")) for line in lines if line.startswith("worktree ")]
    return [Workspace(path) for path in paths if (path / "params.yaml").is_file()]


def _own_params(home: Workspace, preset: Path, name: str) -> str:
    """The preset's text under the workspace's own names, since a registered model's champion is of one catalog."""
    model = f"fclip-{name}"
    for other in list_workspaces(home):
        if read_params(other.params).get("base", {}).get("registered_model") == model:
            raise UserError(f"the workspace {other.root} registers as `{model}`: name this one's folder otherwise")
    text = preset.read_text(encoding="utf-8")
    for key, value in (("workspace", name), ("registered_model", model)):
        text, count = re.subn(rf"(?m)^  {key}: .*$", f"  {key}: {value}", text, count=1)
        if count == 0 or read_params(preset).get("base", {}).get(key) is None:
            raise UserError(f"{preset} has no `base.{key}`: see params.yaml")
    return text


def _reset_pins(workspace: Workspace, datasets: list[str]) -> None:
    for pin in workspace.pins.rglob("*.json"):
        pin.unlink()
    for path in (workspace.base_model_pin, workspace.champion_pin, *map(workspace.source_pin, datasets)):
        write_json(path, {})


def _share_cache(home: Workspace, workspace: Workspace) -> None:
    cache = _dvc(home, "cache", "dir").strip()
    _dvc(workspace, "cache", "dir", "--local", str((home.root / cache).resolve()))


def _dvc(workspace: Workspace, *arguments: str) -> str:
    return _run(workspace.root, sys.executable, "-m", "dvc", *arguments)


def _git(folder: Path, *arguments: str) -> str:
    return _run(folder, "git", *arguments)


def _run(folder: Path, *command: str) -> str:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if result.returncode != 0:
        raise UserError(f"`{' '.join(command)}` failed in {folder}: {(result.stderr or result.stdout).strip()}")
    return result.stdout

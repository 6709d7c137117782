"""The commands `workspace new` and `workspace list`.

A workspace is a git worktree for one catalog. All workspaces share one DVC cache.
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from fclip.errors import UserError
from fclip.files import atomic_write, is_occupied, write_json
from flows.cli.commands import new_app
from flows.cli.here import workspace_here
from flows.cli.terminal import console
from tasks.workspace.params import read_params
from tasks.workspace.paths import Workspace

workspace_app = new_app(
    no_args_is_help=True,
    help="Create and list workspaces (one git worktree per catalog).",
)


@dataclass(frozen=True)
class NewWorkspace:
    """A new workspace, its branch and the name of its registered model."""

    workspace: Workspace
    branch: str
    registered_model: str


@workspace_app.command("new")
def workspace_new(
    path: Annotated[
        Path,
        typer.Argument(help="Folder to create. Its name becomes the name of the workspace."),
    ],
    params: Annotated[Path, typer.Option(help="Params file to start from: a preset in params/ or your own.")],
) -> None:
    """Create a workspace: a git worktree with its own branch, params, pins, outputs and registered model."""
    created = new_workspace(workspace_here(), path.resolve(), params.resolve())
    console.print(
        f"Created the workspace {created.workspace.root} on the branch {created.branch}; "
        f"it registers models as {created.registered_model}"
    )
    console.print(
        f"Next: edit {created.workspace.params}, then run `make retrain WORKSPACE={path}`, or `fclip retrain` in {path}"
    )


@workspace_app.command("list")
def workspace_list() -> None:
    """List the workspaces of this repository."""
    for workspace in list_workspaces(workspace_here()):
        console.print(str(workspace.root), highlight=False)


def new_workspace(home: Workspace, path: Path, params: Path) -> NewWorkspace:
    """Create a workspace at `path` with the preset `params` under new names."""
    require_free(path)
    if not params.is_file():
        presets = ", ".join(sorted(f"params/{preset.name}" for preset in (home.root / "params").glob("*.yaml")))
        raise UserError(f"{params} does not exist; the presets are {presets}")
    return create_workspace(home, path, _renamed_params(home, params, path.name))


def require_free(path: Path) -> None:
    """Raise UserError if `path` exists, so that no workspace can be created there."""
    if path.exists():
        raise UserError(f"{path} already exists; choose another path or remove it")


def create_workspace(home: Workspace, path: Path, params: str) -> NewWorkspace:
    """Create a worktree at `path` on a new branch, with the text `params` as its params.yaml and empty pins.

    Its registered model is `fclip-<folder>`. It uses the DVC cache of `home`, so that workspaces share results. The
    new branch starts with a commit of params and pins, since a run with a closing commit needs a clean tree.

    Raises:
        UserError: `path` exists, `params` does not exist or is not valid, or the name is taken.
    """
    from flows.params import load_params

    require_free(path)
    branch = f"workspace/{path.name}"
    _git(home.root, "worktree", "add", "--quiet", "-b", branch, str(path))
    workspace = Workspace(path.resolve())
    try:
        atomic_write(workspace.params, params)
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
    return NewWorkspace(workspace, branch, loaded.base.registered_model)


def checkout_workspace(home: Workspace, path: Path, commit: str, *, shared_cache: bool) -> Workspace:
    """Create a worktree at `path`, on no branch, with the files of `commit`.

    Args:
        shared_cache: whether it uses the DVC cache of `home`; else it has its own, which is empty.

    Raises:
        UserError: `path` is a file or a folder that is not empty, or `commit` is not in the repository.
    """
    if is_occupied(path):
        raise UserError(f"{path} is not empty; choose another folder or remove it")
    known = ["git", "cat-file", "-e", f"{commit}^{{commit}}"]
    if subprocess.run(known, cwd=home.root, capture_output=True).returncode != 0:
        raise UserError(f"the commit {commit} is not in the repository of {home.root}; run `git fetch` and try again")
    _git(home.root, "worktree", "add", "--quiet", "--detach", str(path), commit)
    workspace = Workspace(path.resolve())
    try:
        if shared_cache:
            _share_cache(home, workspace)
        else:
            _dvc(workspace, "cache", "dir", "--local", str(workspace.root / ".dvc" / "cache"))
    except BaseException:
        _git(home.root, "worktree", "remove", "--force", str(path))
        raise
    return workspace


def list_workspaces(home: Workspace) -> list[Workspace]:
    """Every workspace of this repository, including the main checkout."""
    lines = _git(home.root, "worktree", "list", "--porcelain").splitlines()
    paths = [Path(line.removeprefix("worktree ")) for line in lines if line.startswith("worktree ")]
    return [Workspace(path) for path in paths if (path / "params.yaml").is_file()]


def _renamed_params(home: Workspace, preset: Path, name: str) -> str:
    """The text of `preset` with the names of the new workspace and its registered model, which must be unique."""
    model = free_model_name(home, name)
    text = preset.read_text(encoding="utf-8")
    for key, value in (("workspace", name), ("registered_model", model)):
        in_base = rf"(?m)^(  |base: \{{(?:.*, )?){key}: [^,}}\n]*"  # on a line of its own, or in one line with `base`
        text, count = re.subn(in_base, rf"\g<1>{key}: {value}", text, count=1)
        if count == 0 or read_params(preset).get("base", {}).get(key) is None:
            raise UserError(f"{preset} has no `base.{key}`; add it as in params.yaml")
    return text


def free_model_name(home: Workspace, folder: str) -> str:
    """The registered model of a workspace in a folder of this name; raises UserError when another workspace has it."""
    model = f"fclip-{folder}"
    for other in list_workspaces(home):
        if read_params(other.params).get("base", {}).get("registered_model") == model:
            raise UserError(f"the workspace {other.root} registers as `{model}`; choose another folder name")
    return model


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

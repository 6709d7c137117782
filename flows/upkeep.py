"""Commands of `fclip` that look after workspaces and what they keep: `workspace`, `cache`, `compact`."""

from pathlib import Path
from typing import Annotated

import typer

from flows.terminal import console, workspace_here

workspace_app = typer.Typer(no_args_is_help=True, help="Workspaces: one catalog each, with one DVC cache.")
cache_app = typer.Typer(no_args_is_help=True, help="What makes work incremental; may be deleted at any time.")


@workspace_app.command("new")
def workspace_new(
    path: Annotated[Path, typer.Argument(help="A folder that does not exist yet, beside this one.")],
    params: Annotated[Path, typer.Option(help="A preset of params/, or a params.yaml of your own.")],
) -> None:
    """Make a workspace: a git worktree with its own branch, params, pins, outputs and registered model."""
    from flows.workspaces import new_workspace

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
    from flows.workspaces import list_workspaces

    for workspace in list_workspaces(workspace_here()):
        console.print(str(workspace.root), highlight=False)


@cache_app.command("show")
def cache_show() -> None:
    """How much each part of cache/ holds."""
    from flows.cache import measure

    for part, num_files, num_bytes in measure(workspace_here()):
        console.print(f"{part:<12}{num_files:>8} files {num_bytes / 2**20:>10.1f} MiB")


@cache_app.command("prune")
def cache_prune(
    parts: Annotated[
        list[str] | None, typer.Argument(help="Of those that `cache show` names; all, if none is given.")
    ] = None,
) -> None:
    """Delete cache/; what is needed again is computed again. (The DVC cache is pruned by `dvc gc --projects`.)"""
    from flows.cache import prune
    from tasks.process import lock

    workspace = workspace_here()
    with lock(workspace.run_lock, f"a run holds {workspace.root}: wait for it to end"):
        console.print(f"freed {prune(workspace, parts or []) / 2**20:.1f} MiB")


def compact(
    datasets: Annotated[
        list[str] | None, typer.Argument(help="Names in ingest.datasets; all, if none is given.")
    ] = None,
) -> None:
    """Take the images of deleted products out of the packs and the DVC cache (takedown); join small packs."""
    from flows.compact import compact as run
    from tasks.process import lock

    workspace = workspace_here()
    with lock(workspace.run_lock, f"a run holds {workspace.root}: wait for it to end"):
        for done in run(workspace, datasets or []):
            console.print(done.said, highlight=False)
    console.print(
        "Copies remain where packs were pushed or copied to: `dvc gc --workspace --cloud` prunes a DVC remote, "
        "and other workspaces that ingested the same catalog are compacted there.",
        highlight=False,
    )

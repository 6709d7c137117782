"""Commands on cache/: `cache show` and `cache prune`."""

import shutil
from collections.abc import Sequence
from typing import Annotated

import typer

from fclip.errors import UserError
from flows.cli.terminal import console, workspace_here
from tasks.workspace.lock import lock
from tasks.workspace.paths import Workspace

cache_app = typer.Typer(no_args_is_help=True, help="What makes work incremental; may be deleted at any time.")


@cache_app.command("show")
def cache_show() -> None:
    """How much each part of cache/ holds."""
    for part, num_files, num_bytes in measure(workspace_here()):
        console.print(f"{part:<12}{num_files:>8} files {num_bytes / 2**20:>10.1f} MiB")


@cache_app.command("prune")
def cache_prune(
    parts: Annotated[
        list[str] | None, typer.Argument(help="Of those that `cache show` names; all, if none is given.")
    ] = None,
) -> None:
    """Delete cache/; what is needed again is computed again. (The DVC cache is pruned by `dvc gc --projects`.)"""
    workspace = workspace_here()
    with lock(workspace.run_lock, f"a run holds {workspace.root}: wait for it to end"):
        console.print(f"freed {prune(workspace, parts or []) / 2**20:.1f} MiB")


def measure(workspace: Workspace) -> list[tuple[str, int, int]]:
    """(part, number of files, bytes) of each part of the cache; what a part only links to is not of it."""
    if not workspace.cache.is_dir():
        return []
    parts = []
    for part in sorted(path for path in workspace.cache.iterdir() if path.is_dir()):
        sizes = [file.stat().st_size for file in part.rglob("*") if file.is_file() and not file.is_symlink()]
        parts.append((part.name, len(sizes), sum(sizes)))
    return parts


def prune(workspace: Workspace, parts: Sequence[str] = ()) -> int:
    """Delete `parts` of the cache (none given: all of it); returns the bytes that were in them.

    Raises:
        UserError: there is no such part.
    """
    sizes = {part: num_bytes for part, _, num_bytes in measure(workspace)}
    if unknown := [part for part in parts if part not in sizes]:
        raise UserError(f"{workspace.cache} has no part `{unknown[0]}`: there are {', '.join(sizes) or 'none'}")
    doomed = {workspace.cache / part for part in parts} or {workspace.cache}
    for folder in doomed:
        if folder.is_dir():
            shutil.rmtree(folder)
    return sum(sizes[part] for part in parts or sizes)

"""Commands on cache/: `cache show` and `cache prune`."""

import shutil
from collections.abc import Sequence
from typing import Annotated

import typer

from fclip.errors import UserError
from flows.cli.commands import new_app
from flows.cli.here import workspace_here
from flows.cli.terminal import console
from tasks.workspace.lock import run_lock
from tasks.workspace.paths import Workspace

cache_app = new_app(no_args_is_help=True, help="Show or delete the caches of the workspace. Deleting them is safe.")


@cache_app.command("show")
def cache_show() -> None:
    """Show the number of files and the size of each part of cache/."""
    for part, num_files, num_bytes in measure(workspace_here()):
        console.print(f"{part:<12}{num_files:>8} files {num_bytes / 2**20:>10.1f} MiB")


@cache_app.command("prune")
def cache_prune(
    parts: Annotated[
        list[str] | None, typer.Argument(help="Parts to delete, as listed by `fclip cache show`. Default: all parts.")
    ] = None,
) -> None:
    """Delete cache/ or parts of it. Later runs recompute the contents. The DVC cache does not change (see `dvc gc`)."""
    workspace = workspace_here()
    with run_lock(workspace, "fclip cache prune"):
        console.print(f"Freed {prune(workspace, parts or []) / 2**20:.1f} MiB")


def measure(workspace: Workspace) -> list[tuple[str, int, int]]:
    """Return (part, number of files, bytes) for each part of the cache. Symbolic links are not counted."""
    if not workspace.cache.is_dir():
        return []
    parts = []
    for part in sorted(path for path in workspace.cache.iterdir() if path.is_dir()):
        sizes = [file.stat().st_size for file in part.rglob("*") if file.is_file() and not file.is_symlink()]
        parts.append((part.name, len(sizes), sum(sizes)))
    return parts


def prune(workspace: Workspace, parts: Sequence[str] = ()) -> int:
    """Delete `parts` of the cache, or all of it if `parts` is empty. Return the number of bytes deleted.

    Raises:
        UserError: a part does not exist.
    """
    sizes = {part: num_bytes for part, _, num_bytes in measure(workspace)}
    if unknown := [part for part in parts if part not in sizes]:
        raise UserError(
            f"{workspace.cache}: unknown part `{unknown[0]}`; the existing parts are: {', '.join(sizes) or 'none'}"
        )
    folders = {workspace.cache / part for part in parts} or {workspace.cache}
    for folder in folders:
        if folder.is_dir():
            shutil.rmtree(folder)
    return sum(sizes[part] for part in parts or sizes)

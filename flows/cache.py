"""Look at cache/ and empty it."""

import shutil
from collections.abc import Sequence

from fclip.errors import UserError
from tasks.paths import Workspace


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

"""Look at cache/ and empty it."""

import shutil

from tasks.paths import Workspace


def measure(workspace: Workspace) -> list[tuple[str, int, int]]:
    """(part, number of files, bytes) of each part of the cache."""
    if not workspace.cache.is_dir():
        return []
    parts = []
    for part in sorted(path for path in workspace.cache.iterdir() if path.is_dir()):
        sizes = [file.stat().st_size for file in part.rglob("*") if file.is_file()]
        parts.append((part.name, len(sizes), sum(sizes)))
    return parts


def prune(workspace: Workspace) -> int:
    """Delete the cache; returns the bytes that were in it."""
    freed = sum(num_bytes for _, _, num_bytes in measure(workspace))
    if workspace.cache.is_dir():
        shutil.rmtree(workspace.cache)
    return freed

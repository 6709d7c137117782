"""Exclusive locks on a workspace; a process holds one while it works there."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fclip.errors import UserError


@contextmanager
def lock(path: Path, refusal: str) -> Iterator[None]:
    """Hold an exclusive `flock` on `path`. Raise UserError(refusal) at once if another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(refusal) from None
        yield

"""Exclusive locks on a workspace; a process holds one while it works there."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from fclip.errors import UserError
from tasks.workspace.paths import Workspace


@contextmanager
def lock(path: Path, work: str, *, on_wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold an exclusive `flock` on `path`. The operating system releases it when the process ends in any way.

    Args:
        work: what this process does, for other processes that meet the lock.
        on_wait: called once with a description of the process that holds the lock; then this function waits.

    Raises:
        UserError: another process holds the lock, and `on_wait` is None.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if on_wait is None:
                raise UserError(f"{_holder(file)}; wait until it ends") from None
            on_wait(_holder(file))
            fcntl.flock(file, fcntl.LOCK_EX)
        _write_holder(file, work)
        try:
            yield
        finally:
            file.truncate(0)


@contextmanager
def run_lock(workspace: Workspace, work: str, *, on_wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the lock of a run, and wait for the processes of a run that was killed.

    A run that is killed leaves its pipeline process, which finishes the current stage. Arguments and errors as in
    `lock`.
    """
    with lock(workspace.run_lock, work, on_wait=on_wait):
        for path in (workspace.stage_lock, workspace.pipeline_lock):
            with lock(path, work, on_wait=on_wait):
                pass
        yield


def _write_holder(file: TextIO, work: str) -> None:
    since = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    file.truncate(0)
    file.write(json.dumps({"pid": os.getpid(), "work": work, "since": since}))
    file.flush()


def _holder(file: TextIO) -> str:
    """Describe the process that holds the lock."""
    file.seek(0)
    try:
        holder = json.loads(file.read())
        root = Path(file.name).parent.parent
        return f"{holder['work']} is running in {root} (process {holder['pid']}, since {holder['since']})"
    except (ValueError, KeyError, TypeError):  # the holder has not written its description yet
        return f"another process holds {file.name}"

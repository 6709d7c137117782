"""The locks of a workspace, between processes."""

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fclip.errors import UserError
from tasks.workspace.lock import lock, run_lock
from tasks.workspace.paths import Workspace

HOLDER = """
import sys
from pathlib import Path
from tasks.workspace.lock import lock

with lock(Path(sys.argv[1]), "the stage finetune"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a lock until its standard input is closed."""
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_held_lock_is_refused_with_its_holder(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with holder(workspace.stage_lock) as process, pytest.raises(UserError) as error, run_lock(workspace, "a run"):
        pass
    message = str(error.value)
    assert f"the stage finetune is running in {tmp_path} (process {process.pid}, since 20" in message
    assert "\n" not in message


def test_a_run_waits_once_and_goes_on(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    waited: list[str] = []

    def end_holder(description: str) -> None:
        waited.append(description)
        assert process.stdin is not None
        process.stdin.close()

    with holder(workspace.run_lock) as process, run_lock(workspace, "a run", on_wait=end_holder):
        assert len(waited) == 1
        assert str(process.pid) in waited[0]


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    path = Workspace(tmp_path).stage_lock
    with holder(path) as process:
        process.kill()
        process.wait()
        with lock(path, "another"):
            pass
    with lock(path, "another"), pytest.raises(UserError, match="another is running"), lock(path, "a third"):
        pass

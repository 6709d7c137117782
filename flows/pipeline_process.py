"""The pipeline process of a run, seen from the run: start it, run stages in it, and always end it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flows.pipeline import stage_environment
from flows.pipeline_worker import StageOutcome
from tasks.workspace.paths import Workspace

CODE = Path(__file__).resolve().parent.parent


class PipelineProcess:
    """A process in its own process group that runs stages one at a time (`flows.pipeline_worker`).

    It starts with `start` or with the first stage, and again after `stop`. It runs the code of this process, even if
    the workspace contains other code; the stages run the code of the workspace.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start the process, unless it runs. It imports DVC while this process continues."""
        if self._process is not None and self._process.poll() is None:
            return
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "flows.pipeline_worker"],  # -P: does not import from the current folder
            cwd=self._workspace.root,
            env={**stage_environment(), "FCLIP_PROGRESS": "records", "PYTHONPATH": str(CODE)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def run(self, stage: str) -> Iterator[str | StageOutcome]:
        """Run a stage. Yield its lines of output, and at last its outcome."""
        self.start()
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(f"{stage}\n")
            self._process.stdin.flush()
        lines = []
        for line in self._process.stdout:
            outcome = StageOutcome.from_line(line)
            yield line.rstrip("\n") if outcome is None else outcome
            if outcome is not None:
                return
            lines.append(line)
        last = "".join(lines[-20:]).strip() or "no output"
        yield StageOutcome(stage, changed=False, error=f"the pipeline process ended: {last}")

    def stop(self, grace_seconds: float = 5.0) -> None:
        """End the process and its stage: close its input, then stop its process group."""
        if self._process is None:
            return
        process, self._process = self._process, None
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
        stop_group(process.pid, grace_seconds)
        process.stdout.close()
        process.wait()


@contextmanager
def pipeline_process(workspace: Workspace) -> Iterator[PipelineProcess]:
    """The pipeline process of a run. It has ended when the block ends."""
    process = PipelineProcess(workspace)
    try:
        yield process
    finally:
        process.stop()


def stop_group(group: int, grace_seconds: float) -> None:
    """Stop a process group: send TERM, wait up to `grace_seconds`, then send KILL.

    The pipeline process ends at once on TERM while its stage continues in the group, so this waits for the group.
    """
    for number, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not _group_alive(group):
                return
            time.sleep(0.05)


def _group_alive(group: int) -> bool:
    with suppress(ChildProcessError):
        os.waitpid(-group, os.WNOHANG)  # an ended child stays in the group until it is reaped
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True

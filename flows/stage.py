"""A Prefect task that runs one DVC stage as a subprocess, logs its output, and always ends it."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun
from prefect.logging import get_run_logger
from prefect.states import State
from prefect.tasks import Task

from fclip.errors import UserError
from fclip.files import read_json
from flows.pipeline import stage_environment
from tasks.workspace.paths import Workspace


@dataclass(frozen=True)
class StageOptions:
    """The number of retries of a stage, and the seconds that it has to stop after SIGTERM."""

    retries: int = 0
    grace_seconds: float = 30.0


# Keys are stage names without their dataset. `finetune` resumes from its last checkpoint when it is retried.
OPTIONS = {
    "ingest": StageOptions(retries=2),
    "caption": StageOptions(),
    "gather": StageOptions(),
    "finetune": StageOptions(retries=1, grace_seconds=60.0),
    "average": StageOptions(retries=1),
    "evaluate": StageOptions(retries=1),
    "select": StageOptions(),
    "embed": StageOptions(retries=2),
}


# Hints of DVC for interactive use, which the log omits.
HINTS = (
    "To track the changes with git",
    "git add ",
    "To enable auto staging",
    "dvc config core.autostage",
    "Use `dvc push`",
    "Updating lock file",
    "Generating lock file",
)


class StageError(RuntimeError):
    """A stage failed. `retryable`: whether running it again could help."""

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


def run_stage(workspace: Workspace, name: str) -> float:
    """Run one stage as its own task run and return its seconds. Call it directly, not by submit()."""
    options = OPTIONS[name.partition("@")[0]]
    return stage_task(name, options)(workspace.root, name, options.grace_seconds)


def stage_task(name: str, options: StageOptions) -> Task[..., float]:
    """Return the task `_repro` with the name and the retries of the stage."""
    return _repro.with_options(
        name=name,
        retries=options.retries,
        retry_delay_seconds=[5.0 * 2**attempt for attempt in range(options.retries)] or 0,
    )


def _worth_retrying(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    error = state.data.exception if hasattr(state.data, "exception") else state.data
    return isinstance(error, StageError) and error.retryable


@task(cache_policy=NO_CACHE, persist_result=False, retry_condition_fn=_worth_retrying)
def _repro(root: Path, name: str, grace_seconds: float) -> float:
    logger = get_run_logger()
    began = time.monotonic()
    status = Workspace(root).stage_status(name)
    status.unlink(missing_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", name],
        cwd=root,
        env=stage_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.strip() and not line.strip().startswith(HINTS):
                logger.info(line.rstrip())
        code = process.wait()
    except BaseException:
        logger.warning("Stopping %s", name)
        raise
    finally:
        stop_group(process.pid, grace_seconds)
        process.stdout.close()
        process.wait()
    if code != 0:
        raise _error(name, code, status)
    return time.monotonic() - began


def stop_group(group: int, grace_seconds: float) -> None:
    """Stop a process group: send TERM, wait up to `grace_seconds`, then send KILL.

    DVC ends at once on TERM while its stage continues in the group, so this function waits for the group.
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


def _error(name: str, code: int, status: Path) -> Exception:
    if not status.exists():
        return StageError(f"{name}: dvc ended with code {code}; see its output above", retryable=True)
    last = read_json(status)
    message = f"{name}: {last['message'] or last['ended']}"
    if last["ended"] == "refused":
        return UserError(message)
    return StageError(message, retryable=last["ended"] in ("failed", "preempted"))

"""A Prefect task around one DVC stage: a subprocess whose lines are its log and which it never leaves behind."""

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
    """How the flow runs a stage: where a retry can help, and how long it may take to stop."""

    retries: int = 0
    grace_seconds: float = 30.0


# Keys are stage names without their dataset. Stages that only compute gain nothing from a second try;
# finetune does, since it goes on from its last checkpoint.
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


# What DVC advises a person at a prompt after every stage; a flow does these things itself, or on purpose does not.
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
    """A stage that did not end well, and whether running it again could help."""

    def __init__(self, message: str, *, again: bool) -> None:
        super().__init__(message)
        self.again = again


def run_stage(workspace: Workspace, name: str) -> float:
    """Run one stage as a task run of its own; returns the seconds it took. Call it directly, not by submit()."""
    options = OPTIONS[name.partition("@")[0]]
    return stage_task(name, options)(workspace.root, name, options.grace_seconds)


def stage_task(name: str, options: StageOptions) -> Task[..., float]:
    """The task `_repro` under the stage's name, with the stage's retries."""
    return _repro.with_options(
        name=name,
        retries=options.retries,
        retry_delay_seconds=[5.0 * 2**attempt for attempt in range(options.retries)] or 0,
    )


def _worth_retrying(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    error = state.data.exception if hasattr(state.data, "exception") else state.data
    return isinstance(error, StageError) and error.again


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
        logger.warning("stopping %s", name)
        raise
    finally:
        stop_group(process.pid, grace_seconds)
        process.stdout.close()
        process.wait()
    if code != 0:
        raise _error(name, code, status)
    return time.monotonic() - began


def stop_group(group: int, grace_seconds: float) -> None:
    """End a process group: TERM, up to `grace_seconds` for it to save its work, then KILL.

    DVC dies of TERM at once and its stage lives on in the group, so the group is what is waited for.
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
        os.waitpid(-group, os.WNOHANG)  # a child that has ended stays in the group until it is waited for
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _error(name: str, code: int, status: Path) -> Exception:
    if not status.exists():
        return StageError(f"{name}: dvc ended with code {code}; its lines above say why", again=True)
    last = read_json(status)
    message = f"{name}: {last['message'] or last['ended']}"
    if last["ended"] == "refused":
        return UserError(message)
    return StageError(message, again=last["ended"] in ("failed", "preempted"))

"""A Prefect task that runs one DVC stage in the pipeline process, and logs its output."""

import time
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
from fclip.files import read_json, write_json
from flows.live import follow_stage
from flows.pipeline_process import PipelineProcess
from flows.pipeline_worker import StageOutcome
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
    "derive": StageOptions(),
    "gather": StageOptions(),
    "finetune": StageOptions(retries=1, grace_seconds=60.0),
    "average": StageOptions(retries=1),
    "evaluate": StageOptions(retries=1),
    "evaluate-derived": StageOptions(retries=1),
    "select": StageOptions(),
    "audit": StageOptions(retries=1),
    "embed": StageOptions(retries=2),
}


class StageError(RuntimeError):
    """A stage failed. `retryable`: whether running it again could help."""

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


def run_stage(pipeline: PipelineProcess, workspace: Workspace, name: str) -> float | None:
    """Run one stage as its own task run. Call it directly, not by submit().

    Returns:
        Its seconds; None if DVC found it up to date.
    """
    options = OPTIONS[name.partition("@")[0]]
    task = _run.with_options(
        name=name,
        retries=options.retries,
        retry_delay_seconds=[5.0 * 2**attempt for attempt in range(options.retries)] or 0,
    )
    return task(pipeline, workspace, name, options.grace_seconds, time.time())


def _worth_retrying(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    error = state.data.exception if hasattr(state.data, "exception") else state.data
    return isinstance(error, StageError) and error.retryable


@task(cache_policy=NO_CACHE, persist_result=False, retry_condition_fn=_worth_retrying)
def _run(
    pipeline: PipelineProcess, workspace: Workspace, name: str, grace_seconds: float, decided: float
) -> float | None:
    logger = get_run_logger()
    status = workspace.stage_status(name)
    status.unlink(missing_ok=True)
    logger.info("Running %s", name)
    try:
        stage = follow_stage(pipeline.run(name), name, logger.info)
    except BaseException:
        logger.warning("Stopping %s", name)
        pipeline.stop(grace_seconds)
        raise
    if stage.outcome.error:
        raise _error(stage.outcome, status)
    if not stage.outcome.changed:
        return None
    if status.exists():  # else its outputs came from DVC's cache
        _record_timing(workspace, name, {"decided": decided, **read_json(status)["work"], "loops": stage.loops})
    return time.time() - decided


def _record_timing(workspace: Workspace, name: str, times: dict[str, Any]) -> None:
    path = workspace.stage_timings
    write_json(path, {**(read_json(path) if path.exists() else {}), name: times})


def _error(outcome: StageOutcome, status: Path) -> Exception:
    """Return the exception for a failed stage. Its status file, if it wrote one, says more than DVC."""
    if not status.exists():
        return StageError(f"{outcome.stage}: {outcome.error}", retryable=True)
    last = read_json(status)
    message = f"{outcome.stage}: {last['message'] or last['ended']}"
    if last["ended"] == "refused":
        return UserError(message)
    if last["ended"] == "done":  # DVC failed after the stage
        message = f"{outcome.stage}: {outcome.error}"
    return StageError(message, retryable=last["ended"] in ("failed", "preempted", "done"))

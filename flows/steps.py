"""Steps that several flows share: effects as Prefect tasks, runs of stages, publication, and the closing commit."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from prefect import get_run_logger
from prefect.runtime import flow_run

from flows.effects import effect
from flows.pipeline import Pipeline
from flows.pipeline_process import PipelineProcess
from flows.stage import run_stage
from flows.unchanged import find_unchanged
from tasks.commit import ClosingCommit, make_closing_commit, pending_changes
from tasks.publish import PublishedIndex, publish, publish_challenger
from tasks.register import register
from tasks.resolve import resolve
from tasks.workspace.lock import run_lock
from tasks.workspace.paths import Workspace
from tasks.workspace.process import require_own_code

# Retries help if a source or the registry is unavailable for a moment. Each of these steps is safe to repeat.
find_unchanged_task = effect(find_unchanged, retries=2)
resolve_task = effect(resolve, retries=2)
register_task = effect(register, retries=2)
publish_task = effect(publish)
publish_challenger_task = effect(publish_challenger)
close_task = effect(make_closing_commit, retries=2)


def run_name() -> str:
    """Return the name of the current flow run: its workspace, and when it began."""
    workspace = Workspace(Path(flow_run.parameters.get("workspace", ".")).resolve())
    return f"{workspace.root.name} {datetime.now(UTC):%Y-%m-%d %H:%M}"


@contextmanager
def locked_workspace(path: str, holder: str, *, wait: bool) -> Iterator[Workspace]:
    """Context of a flow: the workspace at `path`, to which this code must belong, with the lock of its run.

    Args:
        wait: whether to wait for another run in the workspace, and log that; else the flow fails.
    """
    space = Workspace(Path(path).resolve())
    require_own_code(space.root)
    logger = get_run_logger()
    on_wait = (lambda other: logger.info("Waiting: %s", other)) if wait else None
    with run_lock(space, holder, on_wait=on_wait):
        yield space


def run_stages(
    space: Workspace,
    process: PipelineProcess,
    pipeline: Pipeline,
    *,
    up_to: Collection[str],
    done: Collection[str] = (),
) -> dict[str, float | None]:
    """Run the stale stages among `up_to` and their dependencies, in order, except those in `done`.

    Returns:
        Seconds by stage; None for a stage that was up to date.
    """
    wanted = pipeline.up_to(*up_to) - set(done)
    to_run = pipeline.to_run(wanted=wanted)
    return {
        name: run_stage(process, space, name) if name in to_run else None for name in pipeline.stages if name in wanted
    }


def embed_catalog(space: Workspace, process: PipelineProcess) -> dict[str, float | None]:
    """Run the stage `embed`, which depends on the champion and so may be stale since the promotion."""
    return {"embed": run_stage(process, space, "embed")}


def publish_indexes(space: Workspace, *, challenger: bool) -> tuple[PublishedIndex, ...]:
    """Publish the champion's index and, with `challenger`, the challenger's if there is one."""
    champion = publish_task(space)
    other = publish_challenger_task(space) if challenger else None
    return (champion, other) if other else (champion,)


def close_run(space: Workspace, message: str, *, version: int | None = None, commit: bool) -> ClosingCommit:
    """End a run with the closing commit; without `commit`, only list the files that it would contain."""
    if not commit:
        return ClosingCommit(None, pending_changes(space), dvc_pushed=False, git_pushed=False)
    return close_task(space, message=message, version=version)

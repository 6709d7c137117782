"""The flow `refresh_catalog`: resolve -> ingest, caption and gather -> embed by the champion -> publish -> commit.

It trains nothing and registers nothing, so that what search returns follows the catalog at little cost. Stages run one
by one, so `finetune` and those after it stay stale, and the next retraining runs them.
"""

from dataclasses import dataclass

from prefect import Flow, flow, get_run_logger

from flows.effects import effect
from flows.params import load_params
from flows.pipeline import read_pipeline
from flows.pipeline_process import pipeline_process
from flows.steps import (
    close_run,
    embed_catalog,
    find_unchanged_task,
    locked_workspace,
    publish_indexes,
    resolve_task,
    run_name,
    run_stages,
)
from flows.unchanged import REFRESHED_CATALOG, Unchanged, remember_run
from flows.waiting import cancel_covered, waiting_runs
from tasks.commit import ClosingCommit, require_clean
from tasks.publish import PublishedIndex
from tasks.published_products import ProductChanges, product_changes, published_index
from tasks.resolve import Resolution, require_champion
from tasks.workspace.paths import Workspace


@dataclass(frozen=True)
class Refresh:
    """The results of all steps of a run.

    Attributes:
        stages: seconds by stage; None for a stage that was up to date.
        publications: the champion's index, and the challenger's if there is one and `search.challenger` is set.
        changes: of the products in the champion's index; None if the index before could not be read.
    """

    resolution: Resolution
    stages: dict[str, float | None]
    publications: tuple[PublishedIndex, ...]
    changes: ProductChanges | None
    closing: ClosingCommit


require_champion_task = effect(require_champion, retries=2)
waiting_runs_task = effect(waiting_runs, retries=2)
cancel_covered_task = effect(cancel_covered, retries=2)


def refresh_flow(*, is_checked: bool = False, resolution: Resolution | None = None) -> Flow[..., Refresh | Unchanged]:
    """Return the flow `refresh_catalog`; arguments as in `flows.retrain.retrain_flow`."""

    @flow(name="refresh_catalog", flow_run_name=run_name, persist_result=False)
    def refresh_catalog(workspace: str = ".", commit: bool = False, wait: bool = True) -> Refresh | Unchanged:
        """Embed the catalog of the workspace as it is now with the champion, and publish it for search.

        Args:
            workspace: the folder with params.yaml; this code must belong to it.
            commit: whether to end with the closing commit, as deployments do; else the run reports the changed files.
            wait: whether to wait for another run in the workspace; else the run fails.
        """
        logger = get_run_logger()
        with locked_workspace(workspace, "the flow `refresh_catalog`", wait=wait) as space:
            covered = waiting_runs_task()  # before any source is read
            params = load_params(space)
            if commit:
                require_clean(space)
            require_champion_task(space)
            found = resolution if is_checked else find_unchanged_task(space, commit=commit, flow="refresh")
            if isinstance(found, Unchanged):
                logger.info("Nothing changed since the run that ended at %s", found.completed_at)
                done: Refresh | Unchanged = found
            else:
                done = _refresh(space, found or resolve_task(space), challenger=params.search.challenger, commit=commit)
                remember_run(space, committed=commit, flow="refresh")
        if number := cancel_covered_task(covered):
            logger.info("Cancelled %d waiting runs, since this run covers their events", number)
        return done

    return refresh_catalog


refresh_catalog = refresh_flow()


def _refresh(space: Workspace, resolution: Resolution, *, challenger: bool, commit: bool) -> Refresh:
    logger = get_run_logger()
    logger.info("Resolve: %s", f"new pins: {', '.join(resolution.changed)}" if resolution.changed else "no pin changed")
    before = published_index(space)
    with pipeline_process(space) as pipeline:
        pipeline.start()
        stages = run_stages(space, pipeline, read_pipeline(space), up_to=[REFRESHED_CATALOG])
        stages |= embed_catalog(space, pipeline)
    publications = publish_indexes(space, challenger=challenger)
    changes = product_changes(space, before, publications[0].index)
    logger.info("Published products: %s", changes or "all are new")
    return Refresh(resolution, stages, publications, changes, close_run(space, "Refresh the catalog", commit=commit))

"""The flow `retrain`: resolve -> stages up to audit -> register -> promote -> embed -> publish -> commit.

DVC runs the stages (flows/stage.py). The steps with side effects are Prefect tasks. Before training, the catalogs are
profiled and compared with those of the champion (flows/catalogs.py). The flow holds the run lock of the workspace, so
that two runs never overlap. If nothing has changed since the last complete run, it ends at once (flows/unchanged.py).
"""

from dataclasses import dataclass
from pathlib import Path

from prefect import Flow, flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from fclip.models.candidates import BASE_MODEL
from fclip.profile.drift import Drift
from flows.catalogs import profile_catalogs
from flows.effects import artifact_key, effect
from flows.params import Params, load_params
from flows.pipeline import read_pipeline
from flows.pipeline_process import PipelineProcess, pipeline_process
from flows.results import ResultRow, read_results, results_markdown, results_records, selected_candidate
from flows.steps import (
    close_run,
    embed_catalog,
    find_unchanged_task,
    locked_workspace,
    publish_indexes,
    register_task,
    resolve_task,
    run_name,
    run_stages,
)
from flows.unchanged import Unchanged, remember_run
from tasks.commit import ClosingCommit, require_clean
from tasks.promote import Promotion, promote
from tasks.publish import PublishedIndex
from tasks.register import NotRegistered, Receipt
from tasks.report import write_report
from tasks.resolve import Resolution
from tasks.workspace.paths import Workspace


@dataclass(frozen=True)
class Retraining:
    """The results of all steps of a run.

    Attributes:
        stages: seconds by stage; None for a stage that was up to date.
        selected: name of the selected candidate.
        publications: the champion's index, and the challenger's if there is one and `search.challenger` is set.
    """

    resolution: Resolution
    stages: dict[str, float | None]
    drift: Drift
    results: list[ResultRow]
    selected: str
    registration: Receipt | NotRegistered
    promotion: Promotion | None
    publications: tuple[PublishedIndex, ...]
    report: Path
    closing: ClosingCommit


def write_comparisons(workspace: Workspace, before: str, after: str) -> Path | None:
    """Write the page that compares two models on every dataset (`tasks.model_evaluation`)."""
    from tasks.model_evaluation import write_comparisons as write  # torch takes seconds to import

    return write(workspace, before, after)


promote_task = effect(promote, retries=2)
comparisons_task = effect(write_comparisons)
report_task = effect(write_report)


def retrain_flow(
    *, is_checked: bool = False, resolution: Resolution | None = None
) -> Flow[..., Retraining | Unchanged]:
    """Return the flow `retrain`.

    Args:
        is_checked: whether the caller has just found that there is something to do.
        resolution: the pins, if the caller resolved them to find that; None: the flow resolves them.
    """

    @flow(name="retrain", flow_run_name=run_name, persist_result=False)
    def retrain(workspace: str = ".", commit: bool = False, wait: bool = True) -> Retraining | Unchanged:
        """Retrain on the catalog of the workspace, and promote the new model if it passes the gate.

        Args:
            workspace: the folder with params.yaml; this code must belong to it.
            commit: whether to end with the closing commit, as deployments do; else the run reports the changed files.
            wait: whether to wait for another run in the workspace; else the run fails.
        """
        logger = get_run_logger()
        with locked_workspace(workspace, "the flow `retrain`", wait=wait) as space:
            params = load_params(space)
            if commit:
                require_clean(space)
            found = resolution if is_checked else find_unchanged_task(space, commit=commit)
            if isinstance(found, Unchanged):
                logger.info("Nothing changed since the run that ended at %s", found.completed_at)
                return found
            with pipeline_process(space) as pipeline:
                pipeline.start()
                done = _retrain(space, params, pipeline, commit, found or resolve_task(space))
            remember_run(space, committed=commit)
            return done

    return retrain


retrain = retrain_flow()


def _retrain(
    space: Workspace, params: Params, pipeline: PipelineProcess, commit: bool, resolution: Resolution
) -> Retraining:
    logger = get_run_logger()
    logger.info("Resolve: %s", f"new pins: {', '.join(resolution.changed)}" if resolution.changed else "no pin changed")

    stale = read_pipeline(space)
    derived = [stage for stage in stale.stages if stage.startswith("derive@")]  # the catalog pages show them
    stages = run_stages(space, pipeline, stale, up_to=["gather", *derived])
    profiles, drift = profile_catalogs(space, params.base.workspace)
    stages |= run_stages(space, pipeline, stale, up_to=["audit"], done=stages)
    selected = selected_candidate(space)
    results = read_results(
        space, [*params.evaluate.datasets, *params.derive.datasets], before=BASE_MODEL, after=selected
    )

    registration = register_task(space, profiles)
    promotion = None
    if isinstance(registration, Receipt):
        promotion = promote_task(space, registration)
        logger.info("Promote: %s", promotion.reason)
    else:
        logger.warning("Registered no new version: %s", registration.reason)

    stages |= embed_catalog(space, pipeline)
    publications = publish_indexes(space, challenger=params.search.challenger)
    if any(stages.values()) or not space.evaluation_page.exists():
        comparisons_task(space, BASE_MODEL, selected)
    report = report_task(space, registration, promotion, drift)
    if not any(stages.values()):
        logger.info("No stage was recomputed")

    _create_artifacts(params, results, selected, registration, promotion)
    version = registration.version if isinstance(registration, Receipt) else None
    outcome = "no new version" if version is None else f"version {version}"
    closing = close_run(space, f"Retrain: {outcome}", version=version, commit=commit)
    return Retraining(
        resolution, stages, drift, results, selected, registration, promotion, publications, report, closing
    )


def _create_artifacts(
    params: Params,
    results: list[ResultRow],
    selected: str,
    registration: Receipt | NotRegistered,
    promotion: Promotion | None,
) -> None:
    if isinstance(registration, Receipt):
        summary = f"Version {registration.version} of `{params.base.registered_model}`."
        summary += f" {promotion.reason}" if promotion else ""
    else:
        summary = f"Registered no new version: {registration.reason}"
    name = params.base.workspace
    create_markdown_artifact(
        key=artifact_key("retrain", name),
        markdown=f"# {name}\n\n{summary}\n\n{results_markdown(results, after=selected)}\n",
        description="Result of the last run",
    )
    create_table_artifact(
        key=artifact_key("results", name),
        table=results_records(results, after=selected),
        description="Evaluation of the base model and the selected model",
    )

"""The flow `retrain`: resolve -> stages up to select -> register -> promote -> embed -> publish -> commit.

DVC runs the stages (flows/stage.py). The steps with side effects are Prefect tasks. Before training, the catalogs are
profiled and compared with those of the champion (flows/catalogs.py). The flow holds the run lock of the workspace, so
that two runs never overlap.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.runtime import flow_run

from fclip.models.candidates import BASE_MODEL
from fclip.profile.drift import Drift
from flows.catalogs import profile_catalogs
from flows.effects import artifact_key, effect
from flows.params import Params, load_params
from flows.pipeline import read_pipeline
from flows.results import ResultRow, read_results, results_markdown, results_records, selected_candidate
from flows.stage import run_stage
from tasks.commit import ClosingCommit, make_closing_commit, pending_changes, require_clean
from tasks.model_evaluation import write_comparisons
from tasks.promote import Promotion, promote
from tasks.publish import Publication, publish
from tasks.register import NotRegistered, Receipt, register
from tasks.report import write_report
from tasks.resolve import Resolution, resolve
from tasks.workspace.lock import lock
from tasks.workspace.paths import Workspace
from tasks.workspace.process import require_own_code


@dataclass(frozen=True)
class Retraining:
    """The results of all steps of a run.

    Attributes:
        stages: seconds by stage; None for a stage that was up to date.
        selected: name of the selected candidate.
    """

    resolution: Resolution
    stages: dict[str, float | None]
    drift: Drift
    results: list[ResultRow]
    selected: str
    registration: Receipt | NotRegistered
    promotion: Promotion | None
    publication: Publication
    report: Path
    closing: ClosingCommit


def _run_name() -> str:
    workspace = Workspace(Path(flow_run.parameters.get("workspace", ".")).resolve())
    return f"{workspace.root.name} {datetime.now(UTC):%Y-%m-%d %H:%M}"


# Retries help if a source or the registry is unavailable for a moment. Each of these steps is safe to repeat.
resolve_task = effect(resolve, retries=2)
register_task = effect(register, retries=2)
promote_task = effect(promote, retries=2)
publish_task = effect(publish)
comparisons_task = effect(write_comparisons)
report_task = effect(write_report)
close_task = effect(make_closing_commit, retries=2)


@flow(name="retrain", flow_run_name=_run_name, persist_result=False)
def retrain(workspace: str = ".", commit: bool = False) -> Retraining:
    """Retrain on the catalog of the workspace, and promote the new model if it passes the gate.

    Args:
        workspace: the folder with params.yaml; this code must belong to it.
        commit: whether to end with the closing commit, as deployments do; else the run reports the changed files.
    """
    space = Workspace(Path(workspace).resolve())
    require_own_code(space.root)
    with lock(space.run_lock, f"another run is in progress in {space.root}; wait until it ends"):
        params = load_params(space)
        if commit:
            require_clean(space)
        return _retrain(space, params, commit)


def _retrain(space: Workspace, params: Params, commit: bool) -> Retraining:
    logger = get_run_logger()
    resolution = resolve_task(space)
    logger.info("Resolve: %s", f"new pins: {', '.join(resolution.changed)}" if resolution.changed else "no pin changed")

    stages = run_stale(space, up_to="gather")
    profiles, drift = profile_catalogs(space, params.base.workspace)
    stages = _merge_seconds(stages, run_stale(space, up_to="select"))
    selected = selected_candidate(space)
    results = read_results(space, list(params.evaluate.datasets), before=BASE_MODEL, after=selected)

    registration = register_task(space, profiles)
    promotion = None
    if isinstance(registration, Receipt):
        promotion = promote_task(space, registration)
        logger.info("Promote: %s", promotion.reason)
    else:
        logger.warning("Registered no new version: %s", registration.reason)

    stages = _merge_seconds(stages, run_stale(space, up_to="embed"))
    publication = publish_task(space)
    if any(stages.values()) or not space.evaluation_page.exists():
        comparisons_task(space, BASE_MODEL, selected)
    report = report_task(space, registration, promotion, drift)
    if not any(stages.values()):
        logger.info("Nothing changed: no stage was recomputed")

    _create_artifacts(params, results, selected, registration, promotion)
    closing = _close(space, registration, commit)
    return Retraining(
        resolution, stages, drift, results, selected, registration, promotion, publication, report, closing
    )


def run_stale(space: Workspace, *, up_to: str) -> dict[str, float | None]:
    """Run the stale stages among `up_to` and its dependencies, in order.

    Returns:
        Seconds by stage; None for a stage that was up to date.
    """
    pipeline = read_pipeline(space)
    wanted = pipeline.up_to(up_to)
    stale = pipeline.to_run(wanted=wanted)
    return {name: run_stage(space, name) if name in stale else None for name in pipeline.stages if name in wanted}


def _merge_seconds(before: dict[str, float | None], after: dict[str, float | None]) -> dict[str, float | None]:
    return before | {name: seconds or before.get(name) for name, seconds in after.items()}


def _close(space: Workspace, registration: Receipt | NotRegistered, commit: bool) -> ClosingCommit:
    if not commit:
        return ClosingCommit(None, pending_changes(space), dvc_pushed=False, git_pushed=False)
    version = registration.version if isinstance(registration, Receipt) else None
    outcome = "no new version" if version is None else f"version {version}"
    return close_task(space, message=f"Retrain: {outcome}", version=version)


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

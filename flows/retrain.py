"""The flow `retrain`: resolve -> stages up to select -> register -> promote -> embed -> publish -> commit.

Stages run by DVC (flows/stage.py); what touches the outside world is a task here. Before anything trains, the catalogs
are profiled for a person to read, and compared with the champion's (flows/catalogs.py). The flow holds the workspace's
run lock, so that two never overlap, whoever started them.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.runtime import flow_run

from fclip.models.candidates import BASE_MODEL
from fclip.profile.drift import Drift
from flows.catalogs import look_at_catalogs
from flows.effects import artifact_key, effect
from flows.params import Params, load_params
from flows.pipeline import read_pipeline
from flows.results import Result, as_markdown, as_records, read_results, selected_candidate
from flows.stage import run_stage
from tasks.commit import Closing, close, pending, require_clean
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
    """What a run did."""

    resolution: Resolution
    stages: dict[str, float | None]  # seconds; None for one that was up to date
    drift: Drift
    results: list[Result]
    selected: str
    registration: Receipt | NotRegistered
    promotion: Promotion | None
    publication: Publication
    report: Path
    closing: Closing


def _run_name() -> str:
    workspace = Workspace(Path(flow_run.parameters.get("workspace", ".")).resolve())
    return f"{workspace.root.name} {datetime.now(UTC):%Y-%m-%d %H:%M}"


# A second try helps against a source or a registry that is away for a moment; each of these can be repeated.
resolve_task = effect(resolve, retries=2)
register_task = effect(register, retries=2)
promote_task = effect(promote, retries=2)
publish_task = effect(publish)
comparisons_task = effect(write_comparisons)
report_task = effect(write_report)
close_task = effect(close, retries=2)


@flow(name="retrain", flow_run_name=_run_name, persist_result=False)
def retrain(workspace: str = ".", commit: bool = False) -> Retraining:
    """Retrain on the workspace's catalog and put the new model to use if it is proven better.

    Args:
        workspace: the folder with params.yaml; its own code must be what runs.
        commit: end with the closing commit (deployments do; on a laptop the run says what it would commit).
    """
    space = Workspace(Path(workspace).resolve())
    require_own_code(space.root)
    with lock(space.run_lock, f"another run holds {space.root}: wait for it to end"):
        params = load_params(space)
        if commit:
            require_clean(space)
        return _retrain(space, params, commit)


def _retrain(space: Workspace, params: Params, commit: bool) -> Retraining:
    logger = get_run_logger()
    resolution = resolve_task(space)
    logger.info("resolve: %s", f"new pins {', '.join(resolution.changed)}" if resolution.changed else "nothing changed")

    stages = run_stale(space, up_to="gather")
    profiles, drift = look_at_catalogs(space, params.base.workspace)
    stages = _joined(stages, run_stale(space, up_to="select"))
    selected = selected_candidate(space)
    results = read_results(space, list(params.evaluate.datasets), before=BASE_MODEL, after=selected)

    registration = register_task(space, profiles)
    promotion = None
    if isinstance(registration, Receipt):
        promotion = promote_task(space, registration)
        logger.info("promote: %s", promotion.reason)
    else:
        logger.warning("register: nothing is registered: %s", registration.reason)

    stages = _joined(stages, run_stale(space, up_to="embed"))
    publication = publish_task(space)
    if any(stages.values()) or not space.evaluation_page.exists():
        comparisons_task(space, BASE_MODEL, selected)
    report = report_task(space, registration, promotion, drift)
    if not any(stages.values()):
        logger.info("nothing changed: no stage was recomputed")

    _leave_artifacts(params, results, selected, registration, promotion)
    closing = _close(space, registration, commit)
    return Retraining(
        resolution, stages, drift, results, selected, registration, promotion, publication, report, closing
    )


def run_stale(space: Workspace, *, up_to: str) -> dict[str, float | None]:
    """Run the stale ones of the stages up to and with `up_to`, in order.

    Returns:
        Seconds by stage, None for one that was up to date.
    """
    pipeline = read_pipeline(space)
    wanted = pipeline.up_to(up_to)
    stale = pipeline.to_run(wanted=wanted)
    return {name: run_stage(space, name) if name in stale else None for name in pipeline.stages if name in wanted}


def _joined(before: dict[str, float | None], after: dict[str, float | None]) -> dict[str, float | None]:
    return before | {name: seconds or before.get(name) for name, seconds in after.items()}


def _close(space: Workspace, registration: Receipt | NotRegistered, commit: bool) -> Closing:
    if not commit:
        return Closing(None, pending(space), dvc_pushed=False, git_pushed=False)
    what = f"version {registration.version}" if isinstance(registration, Receipt) else "no new version"
    version = registration.version if isinstance(registration, Receipt) else None
    return close_task(space, message=f"Retrain: {what}", version=version)


def _leave_artifacts(
    params: Params,
    results: list[Result],
    selected: str,
    registration: Receipt | NotRegistered,
    promotion: Promotion | None,
) -> None:
    if isinstance(registration, Receipt):
        said = f"Version {registration.version} of `{params.base.registered_model}`."
        said += f" {promotion.reason}" if promotion else ""
    else:
        said = f"Nothing registered: {registration.reason}"
    name = params.base.workspace
    create_markdown_artifact(
        key=artifact_key("retrain", name),
        markdown=f"# {name}\n\n{said}\n\n{as_markdown(results, after=selected)}\n",
        description="What the last retraining did",
    )
    create_table_artifact(
        key=artifact_key("results", name),
        table=as_records(results, after=selected),
        description="Evaluation: base model and selected",
    )

"""The step `report`: one HTML page about the results of the run."""

import csv
import math
from datetime import UTC, datetime
from pathlib import Path

from fclip.audits.result import AuditResult
from fclip.catalog.config import DatasetConfig, IngestConfig
from fclip.files import read_json, sha256_tree
from fclip.models.candidates import BASE_MODEL
from fclip.profile.drift import Drift
from fclip.registry.decisions import decisions_of
from fclip.registry.lineage import lineage
from fclip.report.inputs import (
    GateResult,
    IngestCounts,
    ReportInputs,
    TrainingCurves,
)
from fclip.selection.result import SelectionResult
from tasks.base_model import read_base_model_pin
from tasks.promote import CHAMPION, Promotion
from tasks.register import NotRegistered, Receipt
from tasks.selection_result import (
    SELECTED,
    audits_of,
    candidate_scores,
    derived_data,
    evaluation_rows,
    metric_results,
    read_selection,
)
from tasks.workspace.params import Base, load_section
from tasks.workspace.paths import Workspace
from tasks.workspace.roles import read_evaluated_roles


def write_report(
    workspace: Workspace,
    registered: Receipt | NotRegistered,
    promotion: Promotion | None,
    drift: Drift | None = None,
) -> Path:
    """Write reports/report.html from the files of the workspace and the results of this run; return its path."""
    from fclip.report import build  # matplotlib takes a second to import

    return build.write_report(gather_inputs(workspace, registered, promotion, drift), workspace.report)


def gather_inputs(
    workspace: Workspace,
    registered: Receipt | NotRegistered,
    promotion: Promotion | None,
    drift: Drift | None = None,
) -> ReportInputs:
    """Read the content of the report from the workspace.

    Raises:
        UserError: no model is selected.
    """
    base = load_section(workspace, "base", Base)
    ingest = load_section(workspace, "ingest", IngestConfig)
    selection = read_selection(workspace)
    derived = derived_data(workspace)
    rows = evaluation_rows(workspace, read_evaluated_roles(workspace))
    return ReportInputs(
        workspace=base.workspace,
        made_at=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        results=metric_results(
            rows,
            base_model=selection.base.name,
            model=selection.winner,
            training_datasets=ingest.training_datasets,
            derived=derived,
        ),
        selection=selection,
        scores=candidate_scores(rows),
        training=TrainingCurves(
            loss=_curve(workspace.finetune / "history.csv", "train_loss"),
            validation=_validation(selection),
        ),
        gate=_gate(base, registered, promotion),
        ingests=tuple(_ingest(workspace, name, dataset) for name, dataset in ingest.datasets.items()),
        lineage=_lineage(workspace, selection, list(ingest.datasets)),
        drift=drift,
        evaluation_page=workspace.evaluation_page.name if workspace.evaluation_page.exists() else None,
        audits=_audits(workspace, selection, promotion),
        derived=derived,
    )


def _audits(workspace: Workspace, selection: SelectionResult, promotion: Promotion | None) -> tuple[AuditResult, ...]:
    """The audits of the base model, the selected model and, if the gate compared it, the champion."""
    of_run = audits_of(workspace, selection.base.candidate, BASE_MODEL)
    of_run += audits_of(workspace, selection.selected.candidate, SELECTED)
    of_champion = promotion.audits if promotion else ()
    return (*of_run, *(result for result in of_champion if result.model == CHAMPION))


def _ingest(workspace: Workspace, name: str, dataset: DatasetConfig) -> IngestCounts:
    counts = read_json(workspace.catalog(name) / "ingest.json")
    page = workspace.catalog_page(name)
    return IngestCounts(
        dataset=name,
        source=dataset.source.kind,
        roles=dataset.roles,
        num_rows=counts["num_rows"],
        num_products=counts["num_products"],
        num_images=counts["num_images"],
        num_refused=counts["num_refused"],
        splits=counts["splits"],
        refused_by_reason=counts["refused_by_reason"],
        page=page.relative_to(workspace.report.parent).as_posix() if page.is_file() else None,
    )


def _gate(base: Base, registered: Receipt | NotRegistered, promotion: Promotion | None) -> GateResult:
    if isinstance(registered, NotRegistered) or promotion is None:
        reason = registered.reason if isinstance(registered, NotRegistered) else "the gate did not run"
        version = registered.version if isinstance(registered, Receipt) else None
        return GateResult(
            base.registered_model,
            version,
            moved=False,
            is_champion=False,
            reason=reason,
            comparisons=(),
            decisions=decisions_of(base.registered_model, version),
        )
    return GateResult(
        registered_model=base.registered_model,
        version=promotion.version,
        moved=promotion.moved,
        is_champion=promotion.moved or promotion.previous == promotion.version,
        reason=promotion.reason,
        comparisons=promotion.comparisons,
        decisions=decisions_of(base.registered_model, promotion.version),
    )


def _lineage(workspace: Workspace, selection: SelectionResult, datasets: list[str]) -> tuple[tuple[str, str], ...]:
    origin = lineage(workspace.root)
    base_model = read_base_model_pin(workspace)
    dirty = ", with uncommitted changes" if origin.git_dirty else ""
    return (
        ("selected model", selection.selected.candidate.model_sha256),
        ("base model", base_model.title if base_model else "none pinned"),
        ("base model digest", base_model.model_sha256 if base_model else "none pinned"),
        *((f"dataset {name}", sha256_tree(workspace.catalog(name))) for name in datasets),
        ("dvc.lock, stages up to select", origin.dvc_lock_sha256),
        ("git commit", f"{origin.git_commit}{dirty}"),
    )


def _validation(selection: SelectionResult) -> tuple[tuple[int, float], ...]:
    """Finite (step, validation loss) points of the base model and the checkpoints."""
    path = [entry.candidate for entry in selection.trajectory]
    return tuple((candidate.step, candidate.val_loss) for candidate in path if candidate.val_loss is not None)


def _curve(path: Path, column: str) -> tuple[tuple[int, float], ...]:
    """Finite (step, value) points of a column of a training table."""
    if not path.is_file():
        return ()
    with path.open(newline="", encoding="utf-8") as file:
        points = [(int(float(row["step"])), float(row[column])) for row in csv.DictReader(file) if row[column]]
    return tuple((step, value) for step, value in points if math.isfinite(value))

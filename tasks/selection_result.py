"""The selection result with its scores, for the report, the model card and comparisons."""

from collections.abc import Collection, Iterable

from fclip.audits.result import AuditResult, read_audits
from fclip.errors import UserError
from fclip.evaluation.table import ScoreRow, read_score_rows
from fclip.models.candidates import Candidate
from fclip.report.inputs import CandidateScores, DerivedData, MetricResult, ReportedValue
from fclip.selection import result
from fclip.selection.result import SelectionResult
from fclip.shifts.config import DerivedDataset
from fclip.shifts.counts import COUNTS, read_counts
from fclip.shifts.kinds.registry import shift_kinds
from tasks.workspace.params import load_section
from tasks.workspace.paths import Workspace
from tasks.workspace.roles import made_of, read_evaluated_roles

SELECTED = "selected"
"""The name of the selected model in reports/audits.json."""

Rows = dict[str, list[ScoreRow]]  # dataset -> rows of its evaluation table


def read_selection(workspace: Workspace) -> SelectionResult:
    """Read the selection result; raises UserError if no model is selected."""
    if not workspace.selection.is_file() or not workspace.selected.is_dir():
        raise UserError(f"{workspace.root} has no selected model; run `dvc repro select` or `fclip retrain`")
    return result.read_selection(workspace.selection)


def read_scores(workspace: Workspace) -> CandidateScores:
    """Read the primary metrics of every candidate from the existing evaluation tables."""
    return candidate_scores(evaluation_rows(workspace, read_evaluated_roles(workspace)))


def evaluation_rows(workspace: Workspace, datasets: Iterable[str]) -> Rows:
    """Read the existing evaluation tables by dataset."""
    return {
        name: read_score_rows(workspace.evaluation(name)) for name in datasets if workspace.evaluation(name).exists()
    }


def audits_of(workspace: Workspace, candidate: Candidate, model: str) -> tuple[AuditResult, ...]:
    """Read the audits of a candidate under the name `model` of reports/audits.json; () if it was not audited."""
    found = read_audits(workspace.audits) if workspace.audits.is_file() else ()
    return tuple(result for result in found if (result.model, result.model_sha256) == (model, candidate.model_sha256))


def metric_results(
    rows: Rows,
    *,
    base_model: str,
    model: str,
    training_datasets: Collection[str],
    derived: Iterable[DerivedData] = (),
) -> tuple[MetricResult, ...]:
    """Return all metrics of the candidate `model` beside those of the candidate `base_model`."""
    made_of = {each.dataset: each.made_of for each in derived}
    found = []
    for dataset, table in rows.items():
        base = {(row.split, row.full_metric): row for row in table if row.candidate == base_model}
        for row in table:
            if row.candidate != model:
                continue
            found.append(
                MetricResult(
                    dataset=dataset,
                    split=row.split,
                    role=row.role,
                    in_domain=dataset in training_datasets,
                    kind=row.kind,
                    metric=row.full_metric,
                    num_items=row.num_items,
                    primary=row.primary,
                    before=estimate(base[row.split, row.full_metric]),
                    after=estimate(row),
                    made_of=made_of.get(dataset),
                )
            )
    return tuple(found)


def derived_data(workspace: Workspace) -> tuple[DerivedData, ...]:
    """Read what is known about every derived dataset that is made.

    Raises:
        UserError: an entry of `derive.datasets` in params.yaml is invalid.
    """
    found = []
    for name in made_of(workspace):
        kind = shift_kinds()[load_section(workspace, f"derive.datasets.{name}", DerivedDataset).shift.kind]
        if (workspace.derived(name) / COUNTS).is_file():
            counts = read_counts(workspace.derived(name))
            page = workspace.catalog_page(counts.of)
            address = page.relative_to(workspace.report.parent).as_posix() if page.is_file() else None
            found.append(DerivedData(name, kind.label, kind.description, counts, address))
    return tuple(found)


def candidate_scores(rows: Rows) -> CandidateScores:
    """Return the primary metrics of every candidate in the evaluation tables `rows`."""
    return CandidateScores(select=_primary(rows, "select"), report=_primary(rows, "report"))


def _primary(rows: Rows, role: str) -> dict[str, dict[str, ReportedValue]]:
    """Candidate -> dataset -> primary metric on the data with this role."""
    values: dict[str, dict[str, ReportedValue]] = {}
    for dataset, table in rows.items():
        for row in table:
            if row.role == role and row.primary:
                values.setdefault(row.candidate, {})[dataset] = estimate(row)
    return values


def estimate(row: ScoreRow) -> ReportedValue:
    """The value of a row with its interval."""
    return ReportedValue(row.value, row.low, row.high)

"""The result of the selection with the scores behind it: for the report, the registry's card and comparisons."""

from collections.abc import Iterable

from fclip.catalog.config import IngestConfig
from fclip.errors import UserError
from fclip.evaluation.table import ScoreRow, read_score_rows
from fclip.report.inputs import CandidateScores, ReportedValue
from fclip.selection import result
from fclip.selection.result import SelectionResult
from tasks.workspace.params import load_section
from tasks.workspace.paths import Workspace

Rows = dict[str, list[ScoreRow]]  # dataset -> rows of its evaluation table


def read_selection(workspace: Workspace) -> SelectionResult:
    """The result of the selection; raises UserError if nothing is selected."""
    if not workspace.selection.is_file() or not workspace.selected.is_dir():
        raise UserError(f"nothing is selected in {workspace.root}: run `dvc repro select` or `fclip retrain`")
    return result.read_selection(workspace.selection)


def read_scores(workspace: Workspace) -> CandidateScores:
    """Every candidate's primary metrics, of the evaluation tables that exist."""
    return candidate_scores(evaluation_rows(workspace, load_section(workspace, "ingest", IngestConfig).datasets))


def evaluation_rows(workspace: Workspace, datasets: Iterable[str]) -> Rows:
    """The evaluation tables that exist, by dataset."""
    return {
        name: read_score_rows(workspace.evaluation(name)) for name in datasets if workspace.evaluation(name).exists()
    }


def candidate_scores(rows: Rows) -> CandidateScores:
    """Every candidate's primary metrics in the evaluation tables `rows`."""
    return CandidateScores(select=_primary(rows, "select"), report=_primary(rows, "report"))


def _primary(rows: Rows, role: str) -> dict[str, dict[str, ReportedValue]]:
    """Candidate -> dataset -> its primary metric on the data with a role."""
    found: dict[str, dict[str, ReportedValue]] = {}
    for dataset, table in rows.items():
        for row in table:
            if row.role == role and row.primary:
                found.setdefault(row.candidate, {})[dataset] = estimate(row)
    return found


def estimate(row: ScoreRow) -> ReportedValue:
    """A row's value and its interval."""
    return ReportedValue(row.value, row.low, row.high)

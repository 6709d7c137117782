"""What was chosen among the candidates, and how it compares: for the report, the registry's card and people."""

from typing import Any

import pyarrow.parquet as pq

from fclip.catalog.config import IngestConfig
from fclip.errors import UserError
from fclip.files import read_json
from fclip.models.candidates import START, UNTUNED
from fclip.report.inputs import Candidate, Estimate, Selection
from tasks.workspace.params import load_section
from tasks.workspace.paths import Workspace

Rows = dict[str, list[dict[str, Any]]]  # dataset -> rows of its evaluation table


def read_selection(workspace: Workspace) -> dict[str, Any]:
    """reports/selection.json; raises UserError when there is none."""
    if not workspace.selection.is_file() or not workspace.selected.is_dir():
        raise UserError(f"nothing is selected in {workspace.root}: run `dvc repro select` or `fclip retrain`")
    return dict(read_json(workspace.selection))


def selection_of(workspace: Workspace) -> Selection:
    """Every candidate with its scores on the data that selects, and the one that was chosen.

    Raises:
        UserError: nothing has been selected yet.
    """
    ingest = load_section(workspace, "ingest", IngestConfig)
    return selection_from(read_selection(workspace), evaluation_rows(workspace, ingest), datasets_that_train(ingest))


def evaluation_rows(workspace: Workspace, ingest: IngestConfig) -> Rows:
    """The evaluation tables that are there, by dataset."""
    return {
        name: pq.read_table(workspace.evaluation(name)).to_pylist()
        for name in ingest.datasets
        if workspace.evaluation(name).exists()
    }


def datasets_that_train(ingest: IngestConfig) -> tuple[str, ...]:
    """The names of those with a split that trains."""
    return tuple(name for name, dataset in ingest.datasets.items() if "train" in dataset.roles.values())


def selection_from(selection: dict[str, Any], rows: Rows, trains: tuple[str, ...]) -> Selection:
    """What reports/selection.json says, with every candidate's scores out of the evaluation tables."""
    scores, reported = _primary(rows, "select"), _primary(rows, "report")
    selecting = {dataset for entry in scores.values() for dataset in entry}
    return Selection(
        rule=selection["rule"],
        tolerance=selection["in_domain_tolerance"],
        winner=selection["winner"],
        near_ties=tuple(selection["near_ties"]),
        reason=selection["reason"],
        warning=selection["warning"],
        choices=selection["choices"],
        candidates=tuple(
            Candidate(
                name=entry["name"],
                step=entry["step"],
                score=entry["score"],
                in_domain=entry["in_domain"],
                eligible=entry["eligible"],
                val_loss=entry["val_loss"],
                select_scores=scores.get(entry["name"], {}),
                report_scores=reported.get(entry["name"], {}),
                on_path=entry["name"] == START
                or not (entry["is_average"] or entry["name"].startswith("ema-") or entry["name"] == UNTUNED),
            )
            for entry in selection["candidates"]
        ),
        in_domain_datasets=tuple(name for name in trains if name in selecting),
    )


def _primary(rows: Rows, role: str) -> dict[str, dict[str, Estimate]]:
    """Candidate -> dataset -> its primary metric on what has a role."""
    found: dict[str, dict[str, Estimate]] = {}
    for dataset, table in rows.items():
        for row in table:
            if row["role"] == role and row["primary"]:
                found.setdefault(row["candidate"], {})[dataset] = estimate(row)
    return found


def estimate(row: dict[str, Any]) -> Estimate:
    """A row's value and its interval."""
    return Estimate(row["value"], row["low"], row["high"])

"""Stage `select`: select one candidate by the rule in params.

    python -m tasks.select

Reads reports/evaluation, models/finetune and models/average; writes models/selected and reports/selection.json, and for
`dvc metrics` and `dvc plots` reports/metrics.json and reports/plots.
"""

import logging
import math
import shutil
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow.parquet as pq

from fclip.errors import UserError
from fclip.evaluation.table import EVALUATED_ROLES, ScoreRow, read_score_rows
from fclip.files import atomic_dir, atomic_write, link_or_copy, write_json
from fclip.models.candidates import Candidate, read_candidates
from fclip.models.mixtures import mixture_parts
from fclip.selection.candidates import Floats, Score, ScoredCandidate
from fclip.selection.config import SelectConfig
from fclip.selection.result import SelectionResult, write_selection
from fclip.selection.rules.registry import label_free_metrics
from fclip.selection.select import select
from fclip.selection.views import PrimaryScore, curves_csv, frontier_csv, headline_metrics
from tasks.workspace.params import load_section
from tasks.workspace.paths import Workspace
from tasks.workspace.process import run_stage
from tasks.workspace.roles import made_of, read_evaluated_roles

logger = logging.getLogger(__name__)
Tables: TypeAlias = Mapping[str, list[ScoreRow]]  # dataset -> rows of its evaluation table


def main(workspace: Workspace) -> None:
    """Select a candidate by the `select` rows of the evaluation tables, copy its folder and write the result."""
    tables = _read_tables(workspace)
    selection = select(scored_candidates(workspace, tables), load_section(workspace, "select", SelectConfig))
    with atomic_dir(workspace.selected) as temporary:
        folder = workspace.candidate(selection.winner)
        if mixture_parts(folder):
            from fclip.models.weights import materialise_mixture  # torch takes seconds to import

            materialise_mixture(folder, temporary)
        else:
            shutil.copytree(folder, temporary, dirs_exist_ok=True, copy_function=link_or_copy)
    write_selection(workspace.selection, selection)
    _write_views(workspace, selection, tables)
    logger.info("Selected %s: %s", selection.winner, selection.reason)
    rules: dict[str, list[str]] = {}  # by the candidate that they would select
    for rule, choice in selection.choices.items():
        if rule != selection.rule:
            rules.setdefault(choice, []).append(rule)
    if rules:
        choices = "; ".join(f"{choice} ({', '.join(names)})" for choice, names in rules.items())
        logger.info("Other rules would select: %s", choices)
    if selection.warning:
        logger.warning("%s", selection.warning)


def _write_views(workspace: Workspace, selection: SelectionResult, tables: Tables) -> None:
    """Write the files that `dvc metrics` and `dvc plots` show."""
    scores = [
        PrimaryScore(row.dataset, row.role, row.candidate, row.value, row.num_items)
        for table in tables.values()
        for row in table
        if row.primary
    ]
    write_json(workspace.headline, headline_metrics(selection, scores))
    atomic_write(workspace.frontier, frontier_csv(selection))
    atomic_write(workspace.curves, curves_csv(selection, scores))


def scored_candidates(workspace: Workspace, tables: Tables) -> list[ScoredCandidate]:
    """Return every candidate, trained or averaged, with its scores on the select data.

    Raises:
        UserError: the list of candidates is missing, or an evaluation table belongs to other weights.
    """
    candidates = read_candidates(workspace.averages / "candidates.json")
    datasets = read_evaluated_roles(workspace)
    derived = made_of(workspace)
    selects = [
        name for name, roles in datasets.items() if roles.selects and not (name in derived and _is_empty(name, tables))
    ]
    trains = {name for name, roles in datasets.items() if roles.trains}
    tables = {name: [row for row in tables[name] if row.role == "select"] for name in selects}
    draws = {name: _draws(workspace.evaluation_draws(name)) for name in selects}
    metrics = label_free_metrics()
    label_free = {
        dataset: [row for row in table if row.metric in metrics]
        for dataset, table in tables.items()
        if dataset not in trains
    }
    found = []
    for candidate in candidates:
        name = candidate.name
        rows = {
            dataset: _held(table, candidate, workspace.evaluation(dataset), _stage(dataset, derived))
            for dataset, table in tables.items()
        }
        scores = {
            dataset: {metric: _score(splits, draws[dataset][name][metric]) for metric, splits in held.items()}
            for dataset, held in rows.items()
        }
        primary = {dataset: next(iter(held.values())) for dataset, held in scores.items()}
        found.append(
            ScoredCandidate(
                candidate,
                in_domain={dataset: score for dataset, score in primary.items() if dataset in trains},
                out_of_domain={dataset: score for dataset, score in primary.items() if dataset not in trains},
                label_free={
                    dataset: {row.metric: row.value for row in measured if row.candidate == name}
                    for dataset, measured in label_free.items()
                },
                num_nonfinite=sum(next(iter(held.values()))[0].num_nonfinite for held in rows.values()),
                more_held={
                    f"{dataset}.{metric}": score
                    for dataset, held in scores.items()
                    if dataset in trains
                    for metric, score in list(held.items())[1:]
                },
            )
        )
    return found


def _read_tables(workspace: Workspace) -> Tables:
    """Read the evaluation tables of all datasets with select or report data; raises UserError if one is missing."""
    tables: dict[str, list[ScoreRow]] = {}
    derived = made_of(workspace)
    for dataset, roles in read_evaluated_roles(workspace).items():
        path = workspace.evaluation(dataset)
        if any(roles.splits_with(role) for role in EVALUATED_ROLES):
            try:
                tables[dataset] = read_score_rows(path)
            except FileNotFoundError:
                raise UserError(f"{path} is missing; run `dvc repro {_stage(dataset, derived)}@{dataset}`") from None
    return tables


def _stage(dataset: str, derived: Container[str]) -> str:
    return "evaluate-derived" if dataset in derived else "evaluate"


def _is_empty(derived: str, tables: Tables) -> bool:
    """Whether a derived dataset has no selection data, since too few products could be made; logs a warning."""
    empty = not any(row.role == "select" for row in tables[derived])
    if empty:
        logger.warning("%s selects nothing: too few of its products could be made", derived)
    return empty


def _held(rows: Sequence[ScoreRow], candidate: Candidate, path: Path, stage: str) -> dict[str, list[ScoreRow]]:
    """The rows of the held metrics of the candidate by metric, the primary first, one row per split.

    Args:
        rows: the table at `path`. stage: the stage that writes it, without its dataset.
    """
    wanted = (candidate.name, candidate.model_sha256)
    found = [row for row in rows if row.held and (row.candidate, row.model_sha256) == wanted]
    if not found:
        raise UserError(
            f"{path} contains no scores of the candidate {candidate.name} with the weights "
            f"{candidate.model_sha256[:12]}; run `dvc repro {stage}@{path.stem}`"
        )
    held: dict[str, list[ScoreRow]] = {}
    for row in sorted(found, key=lambda row: not row.primary):
        held.setdefault(row.full_metric, []).append(row)
    return held


def _draws(path: Path) -> dict[str, dict[str, dict[str, Floats]]]:
    """Candidate -> metric -> split -> the metric in each resample."""
    found: dict[str, dict[str, dict[str, Floats]]] = {}
    for row in pq.read_table(path).to_pylist():
        by_split = found.setdefault(row["candidate"], {}).setdefault(row["metric"], {})
        by_split[row["split"]] = np.asarray(row["draws"], np.float64)
    return found


def _score(splits: Sequence[ScoreRow], draws: Mapping[str, Floats]) -> Score:
    """The score of a dataset: the mean over its select splits, weighted by their numbers of items."""
    total = sum(row.num_items for row in splits)
    weighted = [(row.num_items / total, row) for row in splits]
    return Score(
        value=sum(share * row.value for share, row in weighted),
        standard_error=math.hypot(*(share * row.standard_error for share, row in weighted)),
        num_items=total,
        draws=np.sum([share * draws[row.split] for share, row in weighted], axis=0),
    )


if __name__ == "__main__":
    run_stage("select", main)

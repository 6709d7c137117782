"""Stage `select`: the candidate that generalises best, by the rule in params.

    python -m tasks.select

Reads reports/evaluation, models/finetune and models/average; writes models/selected and reports/selection.json.
"""

import csv
import logging
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from fclip.errors import UserError
from fclip.evaluation.protocols.label_free import LABEL_FREE
from fclip.files import atomic_dir, link_or_copy, read_json, write_json
from fclip.models.weights import parts_of, write_mixed
from fclip.selection.candidates import Candidate, Floats, Score
from fclip.selection.config import SelectConfig
from fclip.selection.select import as_json, select
from tasks.workspace.params import load_section, read_params
from tasks.workspace.paths import Workspace
from tasks.workspace.process import run_stage

logger = logging.getLogger(__name__)


def main(workspace: Workspace) -> None:
    """Select by the evaluation tables' `select` rows; copy the winner's folder."""
    selection = select(read_candidates(workspace), load_section(workspace, "select", SelectConfig))
    with atomic_dir(workspace.selected) as temporary:
        folder = workspace.candidate(selection.winner.name)
        if parts_of(folder):
            write_mixed(folder, temporary)
        else:
            shutil.copytree(folder, temporary, dirs_exist_ok=True, copy_function=link_or_copy)
    write_json(workspace.selection, as_json(selection))
    logger.info("selected %s: %s", selection.winner.name, selection.reason)
    for rule, choice in selection.choices.items():
        logger.info("  %s would have chosen %s", rule, choice)
    if selection.warning:
        logger.warning("%s", selection.warning)


def read_candidates(workspace: Workspace) -> list[Candidate]:
    """Every candidate, trained or averaged, with its scores on the data that selects.

    Raises:
        UserError: the candidates or the evaluation of a dataset are missing, or it is of other weights.
    """
    for path in (workspace.averages / "candidates.json", workspace.finetune / "validation.csv"):
        if not path.is_file():
            raise UserError(f"{path} is missing: run `dvc pull`, or `dvc repro {path.parent.name}`")
    datasets = read_params(workspace.params)["ingest"]["datasets"]
    selects = [name for name, dataset in datasets.items() if "select" in dataset["roles"].values()]
    tables = {name: _select_rows(workspace, name) for name in selects}
    drawn = {name: _draws(workspace.evaluation_draws(name)) for name in selects}
    trains = {name for name, dataset in datasets.items() if "train" in dataset["roles"].values()}
    losses = validation_losses(workspace.finetune / "validation.csv")
    found = []
    for entry in read_json(workspace.averages / "candidates.json"):
        rows = {name: table[entry["name"], entry["model_sha256"]] for name, table in tables.items()}
        scores = {name: _score(splits, drawn[name][entry["name"]]) for name, splits in rows.items()}
        found.append(
            Candidate(
                name=entry["name"],
                step=int(entry["step"]),
                model_sha256=entry["model_sha256"],
                in_domain={name: score for name, score in scores.items() if name in trains},
                outside={name: score for name, score in scores.items() if name not in trains},
                val_loss=losses.get(entry["name"]),
                label_free={
                    name: {row["metric"]: row["value"] for row in tables[name].label_free.get(entry["name"], [])}
                    for name in tables
                    if name not in trains
                },
                distance=math.inf if entry["distance"] is None else entry["distance"],
                is_average="parts" in entry,
                num_nonfinite=sum(splits[0]["num_nonfinite"] for splits in rows.values()),
            )
        )
    return found


class _Table(dict[tuple[str, str], list[dict[str, Any]]]):
    """(candidate, model_sha256) -> its rows of the primary metric, one a split that selects."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self.label_free: dict[str, list[dict[str, Any]]] = {}

    def __missing__(self, key: tuple[str, str]) -> list[dict[str, Any]]:
        raise UserError(
            f"{self._path} does not hold the candidate {key[0]} with the weights {key[1][:12]} of models/finetune: "
            f"run `dvc repro evaluate@{self._path.stem}`"
        )


def _select_rows(workspace: Workspace, dataset: str) -> _Table:
    path = workspace.evaluation(dataset)
    try:
        rows = pq.read_table(path).to_pylist()
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `dvc repro evaluate@{dataset}`") from None
    table = _Table(path)
    for row in rows:
        if row["role"] == "select" and row["primary"]:
            table.setdefault((row["candidate"], row["model_sha256"]), []).append(row)
        if row["role"] == "select" and row["metric"] in LABEL_FREE:
            table.label_free.setdefault(row["candidate"], []).append(row)
    return table


def _draws(path: Path) -> dict[str, dict[str, Floats]]:
    """Candidate -> split -> the primary metric in each resample."""
    found: dict[str, dict[str, Floats]] = {}
    for row in pq.read_table(path).to_pylist():
        found.setdefault(row["candidate"], {})[row["split"]] = np.asarray(row["draws"], np.float64)
    return found


def _score(splits: list[dict[str, Any]], draws: dict[str, Floats]) -> Score:
    """The score on all the splits of a dataset that select, as one: by their numbers of items."""
    total = sum(row["num_items"] for row in splits)
    shares = [row["num_items"] / total for row in splits]
    return Score(
        value=sum(share * row["value"] for share, row in zip(shares, splits, strict=True)),
        standard_error=math.hypot(*(s * row["standard_error"] for s, row in zip(shares, splits, strict=True))),
        num_items=total,
        draws=np.sum([s * draws[row["split"]] for s, row in zip(shares, splits, strict=True)], axis=0),
    )


def validation_losses(path: Path) -> dict[str, float]:
    """The loss of each candidate that training left, by its name, where it is finite."""
    with path.open(newline="", encoding="utf-8") as file:
        losses = {row["candidate"]: float(row["val_loss"]) for row in csv.DictReader(file)}
    return {name: loss for name, loss in losses.items() if math.isfinite(loss)}


if __name__ == "__main__":
    run_stage("select", main)

"""Stage `select`: the candidate that generalises best, by the rule in params.

    python -m tasks.select

Reads reports/evaluation and models/finetune; writes models/selected and reports/selection.json.
"""

import csv
import logging
import math
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from fclip.files import atomic_dir, read_json, write_json
from fclip.selection.candidates import Candidate, Score
from fclip.selection.config import SelectConfig
from fclip.selection.select import as_json, select
from tasks.params import load_section, read_params
from tasks.paths import Workspace
from tasks.process import run_stage

logger = logging.getLogger(__name__)


def main(workspace: Workspace) -> None:
    """Select by the evaluation tables' `select` rows; copy the winner's folder."""
    selection = select(read_candidates(workspace), load_section(workspace, "select", SelectConfig))
    with atomic_dir(workspace.selected) as temporary:
        shutil.copytree(
            workspace.finetune / "candidates" / selection.winner.name,
            temporary,
            dirs_exist_ok=True,
            copy_function=_link,
        )
    write_json(workspace.selection, as_json(selection))
    logger.info("selected %s: %s", selection.winner.name, selection.reason)
    for rule, choice in selection.choices.items():
        logger.info("  %s would have chosen %s", rule, choice)
    if selection.warning:
        logger.warning("%s", selection.warning)


def read_candidates(workspace: Workspace) -> list[Candidate]:
    """Every candidate of models/finetune with its scores on the data that selects."""
    datasets = read_params(workspace.params)["ingest"]["datasets"]
    tables = {name: _select_rows(workspace, name) for name in datasets if workspace.evaluation(name).exists()}
    trains = {name for name, dataset in datasets.items() if "train" in dataset["roles"].values()}
    losses = _losses(workspace.finetune / "validation.csv")
    found = []
    for entry in read_json(workspace.finetune / "candidates.json"):
        rows = {dataset: table[entry["name"]] for dataset, table in tables.items() if entry["name"] in table}
        scores = {dataset: Score(row["value"], row["standard_error"]) for dataset, row in rows.items()}
        found.append(
            Candidate(
                name=entry["name"],
                step=int(entry["step"]),
                model_sha256=entry["model_sha256"],
                in_domain={name: score for name, score in scores.items() if name in trains},
                outside={name: score for name, score in scores.items() if name not in trains},
                val_loss=losses.get(entry["name"]),
                num_nonfinite=sum(row["num_nonfinite"] for row in rows.values()),
            )
        )
    return found


def _select_rows(workspace: Workspace, dataset: str) -> dict[str, dict[str, Any]]:
    """candidate -> its row of the primary metric on the dataset's `select` split."""
    rows = pq.read_table(workspace.evaluation(dataset)).to_pylist()
    return {row["candidate"]: row for row in rows if row["role"] == "select" and row["primary"]}


def _losses(path: Path) -> dict[str, float]:
    with path.open(newline="", encoding="utf-8") as file:
        losses = {row["candidate"]: float(row["val_loss"]) for row in csv.DictReader(file)}
    return {name: loss for name, loss in losses.items() if math.isfinite(loss)}


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


if __name__ == "__main__":
    run_stage("select", main)

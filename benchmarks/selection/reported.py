"""Score what rules select, on the report data of clothing and fmnist, which chose nothing in the study.

python -m benchmarks.selection.reported --work DIR --runs full-2 [full-3 ...] [--tables FOLDER] [--out FILE]

DIR is the folder of `python -m benchmarks.selection`, which keeps the trained models. Rules select on the tables of the
runs in FOLDER (benchmarks/selection/runs). Run it once, when nothing is left to choose: a later choice would know this
data.
"""

import argparse
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.console import Console

from benchmarks.command import run_benchmark
from benchmarks.selection.run import StudyRun, kept_runs_parser
from benchmarks.selection.run_table import read_run
from benchmarks.selection.scores import run_workspace
from benchmarks.selection.tables import RUNS
from fclip.errors import UserError
from fclip.models.candidates import BASE_MODEL, read_candidates
from fclip.progress import text_table
from fclip.selection.config import SelectConfig
from fclip.selection.select import select
from tasks.average import average
from tasks.evaluate import evaluate_on
from tasks.workspace.params import read_params
from tasks.workspace.paths import Workspace

DATASETS = ("clothing", "fmnist")
MAX_ITEMS = 2000
AT = "-at-"  # in the name of an average with the base model, before its share
TEXTS = "-texts-"  # before the share of its text tower
RULES = {
    "last": SelectConfig(rule="last", in_domain_tolerance=1.0, tie_confidence=None),
    "in-domain loss": SelectConfig(rule="in_domain_loss", in_domain_tolerance=1.0, tie_confidence=None),
    **{f"nearest, within {100 * each:g}": SelectConfig(in_domain_tolerance=each) for each in (0.01, 0.02, 0.03)},
}


def main() -> None:
    parser = kept_runs_parser("benchmarks.selection.reported", __doc__)
    parser.add_argument("--tables", type=Path, default=RUNS, help="folder of the runs' tables")
    run_benchmark(parser, _measure, Console())


def _measure(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    work: Path = arguments.work.resolve()
    results: dict[str, Any] = {}
    for name in arguments.runs:
        candidates = read_run(arguments.tables / f"{name}.parquet").candidates
        chosen = {BASE_MODEL: BASE_MODEL, **{rule: select(candidates, config).winner for rule, config in RULES.items()}}
        scores = _score(work, name, set(chosen.values()))
        results[name] = {rule: {"candidate": winner, **scores[winner]} for rule, winner in chosen.items()}
        console.print(f"{name} is scored", highlight=False)
    rows = [
        (rule, *(f"{np.mean([results[name][rule][dataset] for name in results]):.1f}" for dataset in DATASETS))
        for rule in (BASE_MODEL, *RULES)
    ]
    console.print(text_table(("rule", *DATASETS), rows), highlight=False)
    return results


def _score(work: Path, name: str, winners: set[str]) -> Mapping[str, Mapping[str, float]]:
    """Candidate -> dataset -> its primary metric on report data, in percent."""
    regime, _, seed = name.rpartition("-")
    sections = {**StudyRun(regime, int(seed)).sections, "average": {"methods": _methods_of(winners)}}
    space = run_workspace(Workspace(work / "workspace"), work / "jobs" / name / "out", work / "reported", sections)
    _give_report_data(space, DATASETS)
    average(space)
    listed = read_candidates(space.averages / "candidates.json")
    known = {candidate.name: space.candidate(candidate.name) for candidate in listed}
    if unknown := sorted(winners - set(known)):
        raise UserError(f"{name}: the kept models do not give the candidate {unknown[0]} again; train the run again")
    folders = {winner: known[winner] for winner in sorted(winners)}
    scores: dict[str, dict[str, float]] = {winner: {} for winner in folders}
    for dataset in DATASETS:
        evaluation = evaluate_on(space, folders, dataset, roles=("report",), held_only=True)
        for winner in folders:
            scores[winner][dataset] = round(100 * evaluation.primary_score(winner, "test").estimate.value, 2)
    shutil.rmtree(space.root)
    return scores


def _methods_of(names: set[str]) -> list[dict[str, Any]]:
    """The averaging methods that make the candidates with these names again."""
    if any(TEXTS in name for name in names):
        return [{"kind": "soup"}, {"kind": "tower-search"}]
    shares = sorted({float(name.rpartition(AT)[2]) for name in names if AT in name})
    return [{"kind": "soup"}, *([{"kind": "interpolation", "shares": shares}] if shares else [])]


def _give_report_data(space: Workspace, datasets: Sequence[str]) -> None:
    """Give the split `test` of the datasets the role report."""
    params = read_params(space.params)
    for name in datasets:
        params["ingest"]["datasets"][name]["roles"]["test"] = "report"
        params["evaluate"]["datasets"][name]["max_items"] = MAX_ITEMS
    space.params.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


if __name__ == "__main__":
    main()

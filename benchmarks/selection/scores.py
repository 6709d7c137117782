"""Average and score the candidates of a run, on every dataset: on all items and on each half of them."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.selection.run_table import write_run
from fclip.evaluation.outcomes import equal_weights
from fclip.evaluation.protocols.task import TaskOutcome
from fclip.evaluation.run import Evaluation, MetricScore
from fclip.models.candidates import Candidate, read_candidates
from fclip.selection.candidates import Floats, Score, ScoredCandidate
from tasks.average import average
from tasks.evaluate import evaluate_on
from tasks.workspace.params import read_params
from tasks.workspace.paths import Workspace

SPLIT = "val"


def write_scores(
    workspace: Workspace,
    trained: Path,
    root: Path,
    *,
    sections: Mapping[str, Any],
    in_domain: str,
    out: Path,
) -> None:
    """Average the candidates in `trained`, score all candidates on every dataset of `workspace`, and write the table.

    Args:
        root: a folder for the run's own workspace, which links to the data and caches of `workspace`.
        sections: params sections (`average`, `evaluate`) that replace those of `workspace`.
        out: the file of the table.
    """
    run = run_workspace(workspace, trained, root, sections)
    average(run)
    listed = read_candidates(run.averages / "candidates.json")
    folders = {candidate.name: run.candidate(candidate.name) for candidate in listed}
    names = list(read_params(run.params)["evaluate"]["datasets"])
    evaluations = {name: evaluate_on(run, folders, name, roles=("select",)) for name in names}
    candidates = [_scored(candidate, evaluations, in_domain) for candidate in listed]
    halves = {
        name if metric == evaluation.primary else f"{name}.{metric}": np.array(
            [_halves(evaluation, candidate.name, metric) for candidate in listed]
        )
        for name, evaluation in evaluations.items()
        for metric in evaluation.held_scores(listed[0].name, SPLIT)
    }
    write_run(candidates, halves, out)


def run_workspace(workspace: Workspace, trained: Path, root: Path, sections: Mapping[str, Any]) -> Workspace:
    """Return a new workspace in `root` with these params, the candidates in `trained`, and the data of `workspace`."""
    run = Workspace(root)
    shutil.rmtree(root, ignore_errors=True)
    (root / "models").mkdir(parents=True)
    workspace.cache.mkdir(exist_ok=True)
    params = {**read_params(workspace.params), **sections}
    run.params.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    for link, target in (("data", workspace.root / "data"), ("cache", workspace.cache), ("models/finetune", trained)):
        (root / link).symlink_to(target.resolve())
    return run


def _scored(candidate: Candidate, evaluations: dict[str, Evaluation], in_domain: str) -> ScoredCandidate:
    scores = {
        dataset: {metric: _score(own) for metric, own in evaluation.held_scores(candidate.name, SPLIT).items()}
        for dataset, evaluation in evaluations.items()
    }
    primary = {dataset: scores[dataset][evaluation.primary] for dataset, evaluation in evaluations.items()}
    others = {metric: own for metric, own in scores[in_domain].items() if metric != evaluations[in_domain].primary}
    return ScoredCandidate(
        candidate,
        in_domain={in_domain: primary[in_domain]},
        out_of_domain={dataset: score for dataset, score in primary.items() if dataset != in_domain},
        more_held={f"{in_domain}.{metric}": score for metric, score in others.items()},
        label_free={
            dataset: values
            for dataset, evaluation in evaluations.items()
            if (values := _label_free(evaluation, candidate.name)) and dataset != in_domain
        },
        num_nonfinite=sum(evaluation.num_nonfinite[candidate.name] for evaluation in evaluations.values()),
    )


def _score(scored: MetricScore) -> Score:
    estimate = scored.estimate
    return Score(estimate.value, estimate.standard_error, scored.num_items, estimate.draws)


def _label_free(evaluation: Evaluation, model: str) -> dict[str, float]:
    return {
        score.metric: score.estimate.value
        for score in evaluation.scores
        if score.model == model and score.kind == "label-free"
    }


def _halves(evaluation: Evaluation, model: str, full_metric: str) -> Floats:
    """Return a metric on each half of the items, float64 [2]. Near-duplicates are in the same half."""
    protocol, _, metric = full_metric.rpartition(".")
    outcome: TaskOutcome = evaluation.outcomes[model, SPLIT, protocol]
    clusters = np.arange(outcome.outcome.num_items) if outcome.clusters is None else outcome.clusters
    second = np.random.default_rng(0).permutation(int(clusters.max()) + 1)[clusters] % 2 == 1
    halves = [outcome.outcome.take(np.flatnonzero(second == half)) for half in (False, True)]
    return np.array([half.metrics(equal_weights(half))[metric][0] for half in halves])

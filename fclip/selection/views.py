"""The metrics and plots of a selection that DVC shows: a dozen headline metrics, a trade-off plot and curves."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fclip.evaluation.table import EVALUATED_ROLES
from fclip.selection.result import CandidateResult, SelectionResult


@dataclass(frozen=True)
class PrimaryScore:
    """A candidate's primary metric on one split of a dataset, and the number of items."""

    dataset: str
    role: str
    candidate: str
    value: float
    num_items: int


def headline_metrics(result: SelectionResult, scores: Sequence[PrimaryScore]) -> dict[str, Any]:
    """Return the primary metrics of the `selected` and the `base` model and the in-domain cost.

    The primary metrics are `{dataset: {role: value}}`. The in-domain cost is the in-domain score of the best candidate
    with finite features minus that of the selected one.
    """
    finite = [entry.in_domain for entry in result.candidates if entry.num_nonfinite == 0]
    cost = max(finite, default=result.selected.in_domain) - result.selected.in_domain
    return {
        "selected": _by_dataset(scores, result.winner),
        "base": _by_dataset(scores, result.base.name),
        "in_domain_cost": round(cost, 6),
    }


def frontier_csv(result: SelectionResult) -> str:
    """Return CSV with the in-domain and mean out-of-domain score of each candidate that has out-of-domain scores."""
    rows = [
        (entry.name, entry.candidate.kind, _rounded(entry.in_domain), _rounded(_mean_out_of_domain(entry)))
        for entry in result.candidates
        if entry.out_of_domain
    ]
    return _csv(("candidate", "kind", "in_domain", "out_of_domain"), rows)


def curves_csv(result: SelectionResult, scores: Sequence[PrimaryScore]) -> str:
    """Return CSV with the step and primary metric of the base model and each checkpoint, by dataset and role."""
    rows = [
        (dataset, role, entry.name, entry.candidate.step, value)
        for entry in result.trajectory
        for dataset, values in _by_dataset(scores, entry.name).items()
        for role, value in values.items()
    ]
    return _csv(("dataset", "role", "candidate", "step", "value"), rows)


def _by_dataset(scores: Iterable[PrimaryScore], candidate: str) -> dict[str, dict[str, float]]:
    """Return {dataset: {role: mean over the items of all splits with this role}} for one candidate."""
    scores_of: dict[str, dict[str, list[PrimaryScore]]] = {}
    for score in scores:
        if score.candidate == candidate:
            scores_of.setdefault(score.dataset, {}).setdefault(score.role, []).append(score)
    return {
        dataset: {role: _rounded(_mean(roles[role])) for role in EVALUATED_ROLES if role in roles}
        for dataset, roles in scores_of.items()
    }


def _mean(scores: Sequence[PrimaryScore]) -> float:
    return sum(score.value * score.num_items for score in scores) / sum(score.num_items for score in scores)


def _mean_out_of_domain(entry: CandidateResult) -> float:
    return sum(score.value for score in entry.out_of_domain.values()) / len(entry.out_of_domain)


def _rounded(value: float) -> float:
    return round(value, 6)


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([header, *rows])
    return text.getvalue()

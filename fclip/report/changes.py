"""Changes between two models on one dataset: by metric, slice, class, item and ranking."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fclip.evaluation.arrivals import new_arrivals
from fclip.evaluation.bootstrap import Estimate, Resampling, differences, estimates
from fclip.evaluation.catalog import Catalog
from fclip.evaluation.outcomes import ClassificationOutcome, Floats, Ints
from fclip.evaluation.protocols.registry import direction
from fclip.evaluation.protocols.task import TaskOutcome
from fclip.evaluation.run import Evaluation, MetricScore

PERSISTENCE = 0.9
"""Of rank-biased overlap: the probability that a reader continues to the next rank; at 0.9 the first ten ranks have
86 % of the weight."""
SHORT_QUERY, MEDIUM_QUERY = 2, 5
"""Largest number of words of a short and of a medium query."""


@dataclass(frozen=True)
class MetricChange:
    """One metric of both models, and the difference with its paired bootstrap interval."""

    split: str
    role: str
    protocol: str
    kind: str
    metric: str
    num_items: int
    primary: bool
    before: Estimate
    after: Estimate
    difference: Estimate


@dataclass(frozen=True)
class SliceChange:
    """One metric of both models on a slice: the items with one attribute value or one query length."""

    name: str
    value: str
    num_items: int
    before: float
    after: float
    difference: Estimate


@dataclass(frozen=True)
class ClassChange:
    """Recall of one class for both models, and the wrong classes that `after` predicts with their counts."""

    name: str
    num_items: int
    before: float
    after: float
    confused_with: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Flips:
    """Rows of items that were correct and no longer are (`lost`), and of items that became correct (`won`)."""

    lost: tuple[int, ...]
    won: tuple[int, ...]


@dataclass(frozen=True)
class RankingChange:
    """Similarity of the first ten results of both models for each query: float64 [n], from 0 (disjoint) to 1 (equal).

    Attributes:
        overlap: share of results that are in both lists, in any order.
        rbo: rank-biased overlap, scaled so that equal lists have 1.
    """

    overlap: Floats
    rbo: Floats


def metric_changes(evaluation: Evaluation, before: str, after: str) -> tuple[MetricChange, ...]:
    """Return the change of every metric on every split and protocol."""
    scores_before: dict[tuple[str, str, str], MetricScore] = {
        (entry.split, entry.protocol, entry.metric): entry for entry in evaluation.scores if entry.model == before
    }
    paired: dict[tuple[str, str], dict[str, Estimate]] = {}
    result = []
    for entry in evaluation.scores:
        if entry.model != after:
            continue
        key = (entry.split, entry.protocol)
        if key not in paired:
            paired[key] = evaluation.compare_all(before, after, *key)
        result.append(
            MetricChange(
                split=entry.split,
                role=entry.role,
                protocol=entry.protocol,
                kind=entry.kind,
                metric=entry.metric,
                num_items=entry.num_items,
                primary=entry.primary,
                before=scores_before[*key, entry.metric].estimate,
                after=entry.estimate,
                difference=paired[key][entry.metric],
            )
        )
    return tuple(result)


def labelled_protocols(evaluation: Evaluation, model: str) -> tuple[tuple[str, str], ...]:
    """Return each (split, protocol) with correct answers, which leaves out the label-free protocols."""
    entries = (entry for entry in evaluation.scores if entry.model == model and direction(entry.metric))
    return tuple(dict.fromkeys((entry.split, entry.protocol) for entry in entries))


def slice_changes(
    before: TaskOutcome,
    after: TaskOutcome,
    values: Mapping[str, Sequence[str | None]],
    metric: str,
    *,
    min_items: int,
    resampling: Resampling,
) -> tuple[SliceChange, ...]:
    """Return the change of one metric on each slice of at least `min_items` items, the largest loss first.

    Args:
        values: attribute or other property -> its value for each item; None if the item has no value.
    """
    result = []
    for name, item_values in values.items():
        column = np.array([value or "" for value in item_values])
        for value, count in zip(*np.unique(column, return_counts=True), strict=True):
            if not value or count < min_items:
                continue
            rows = np.flatnonzero(column == value)
            pair = [each.outcome.take(rows) for each in (before, after)]
            clusters = None if after.clusters is None else np.unique(after.clusters[rows], return_inverse=True)[1]
            scores = [estimates(outcome, clusters, resampling)[metric].value for outcome in pair]
            difference = differences(pair[0], pair[1], clusters, resampling)[metric]
            result.append(SliceChange(name, str(value), int(count), scores[0], scores[1], difference))
    return tuple(sorted(result, key=lambda each: each.difference.value))


def slice_values(
    task: TaskOutcome, catalog: Catalog, attributes: Sequence[str], newest: str | None = None
) -> dict[str, list[str | None]]:
    """Return the properties that items are sliced by: attributes of products, or the length of text queries.

    Args:
        newest: the attribute with the arrival time of products; None if there is none.

    Returns:
        property -> its value for each item; None if the item has no value.
    """
    products = {product.product_id: product for product in catalog.products}
    if not all(item in products for item in task.items):
        return {"query": [query_length(item) for item in task.items]}
    values = {name: [products[item].attributes.get(name) for item in task.items] for name in attributes}
    if newest is not None:
        values["arrival"] = new_arrivals([products[item].attributes.get(newest) for item in task.items])
    return values


def query_length(query: str) -> str:
    """Return the length class of a query, by its number of words."""
    words = len(query.split())
    if words <= SHORT_QUERY:
        return f"up to {SHORT_QUERY} words"
    if words <= MEDIUM_QUERY:
        return f"{SHORT_QUERY + 1} to {MEDIUM_QUERY} words"
    return f"more than {MEDIUM_QUERY} words"


def flips(before: TaskOutcome, after: TaskOutcome) -> Flips:
    """Return the items that `after` gets wrong and `before` got right, and the reverse."""
    first, second = before.outcome.correct, after.outcome.correct
    return Flips(_rows(first & ~second), _rows(second & ~first))


def class_changes(before: TaskOutcome, after: TaskOutcome, most: int = 3) -> tuple[ClassChange, ...]:
    """Return the recall of every class that has items; the class that lost most items first."""
    first, second = before.outcome, after.outcome
    assert isinstance(first, ClassificationOutcome)
    assert isinstance(second, ClassificationOutcome)
    result = []
    for number, name in enumerate(before.classes):
        rows = np.flatnonzero(second.labels == number)
        if not len(rows):
            continue
        predictions = second.predictions[rows]
        is_wrong = (predictions != number) & (predictions >= 0)
        wrong, counts = np.unique(predictions[is_wrong], return_counts=True)
        order = np.argsort(-counts, kind="stable")[:most]
        result.append(
            ClassChange(
                name=name,
                num_items=len(rows),
                before=float(first.correct[rows].mean()),
                after=float(second.correct[rows].mean()),
                confused_with=tuple((before.classes[wrong[row]], int(counts[row])) for row in order),
            )
        )
    return tuple(sorted(result, key=lambda each: ((each.after - each.before) * each.num_items, -each.num_items)))


def confusion_counts(task: TaskOutcome) -> Ints:
    """int [classes, classes]: number of items by true class (row) and predicted class (column)."""
    outcome = task.outcome
    assert isinstance(outcome, ClassificationOutcome)
    matrix = np.zeros((outcome.num_classes, outcome.num_classes), np.int64)
    predicted = outcome.predictions >= 0
    np.add.at(matrix, (outcome.labels[predicted], outcome.predictions[predicted]), 1)
    return matrix


def ranking_change(before: TaskOutcome, after: TaskOutcome) -> RankingChange:
    """Return how similar each query's first ten results are. Both models must have searched the same documents."""
    assert before.search_results is not None
    assert after.search_results is not None
    pairs = list(zip(before.search_results.ranked, after.search_results.ranked, strict=True))
    return RankingChange(
        overlap=np.array([_overlap(first, second) for first, second in pairs]),
        rbo=np.array([rank_biased_overlap(first, second) for first, second in pairs]),
    )


def rank_biased_overlap(first: Ints, second: Ints, persistence: float = PERSISTENCE) -> float:
    """Return the rank-biased overlap of two rankings, cut at the shorter one and scaled so that equal ones have 1.

    It is the weighted mean over depths of the share of items that both rankings have up to that depth. Each depth has
    `persistence` times the weight of the one before (Webber, Moffat and Zobel 2010, equation 4, truncated).
    """
    depth = min(int((first >= 0).sum()), int((second >= 0).sum()))
    if not depth:
        return 0.0
    agreement = [len(set(first[:d]) & set(second[:d])) / d for d in range(1, depth + 1)]
    weights = persistence ** np.arange(depth)
    return float((weights * agreement).sum() / weights.sum())


def _overlap(first: Ints, second: Ints) -> float:
    items = [set(ranked[ranked >= 0].tolist()) for ranked in (first, second)]
    return len(items[0] & items[1]) / max(len(items[0]), len(items[1]), 1)


def _rows(condition: np.ndarray) -> tuple[int, ...]:
    return tuple(int(row) for row in np.flatnonzero(condition))

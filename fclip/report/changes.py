"""Two models on one dataset, side by side: what changed, for whom, and what a person should look at."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fclip.evaluation.bootstrap import Estimate, Resampling, differences, estimates
from fclip.evaluation.catalog import Catalog
from fclip.evaluation.outcomes import ClassificationOutcome, Floats, Ints
from fclip.evaluation.protocols.registry import direction
from fclip.evaluation.protocols.task import TaskOutcome
from fclip.evaluation.run import Evaluation, Scored

PERSISTENCE = 0.9
"""Of RBO: how likely a reader goes on from one place to the next; at .9 the first ten weigh 86 %."""
SHORT, LONG = 2, 5
"""Words of a short query at most, and of a middling one."""
NEWEST = 0.1
"""The share of products that are new arrivals; those that came at the same time as the last of them are too."""


@dataclass(frozen=True)
class Change:
    """One metric before and after, and the difference with its paired interval."""

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
    """The same of the items that share something: an attribute's value, a query's length."""

    name: str
    value: str
    num_items: int
    before: float
    after: float
    difference: Estimate


@dataclass(frozen=True)
class ClassChange:
    """Recall of one class before and after, and what its items were taken for instead, most often first."""

    name: str
    num_items: int
    before: float
    after: float
    taken_for: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Flips:
    """Rows of items that came out well before and no longer do, and the other way round."""

    lost: tuple[int, ...]
    won: tuple[int, ...]


@dataclass(frozen=True)
class RankingChange:
    """How much what is found first changed, for each query: float [n] from 0 (all new) to 1 (as it was).

    Attributes:
        overlap: share of the first ten that are in both, whatever their order.
        rbo: rank-biased overlap of the first ten, scaled so that equal lists have 1.
    """

    overlap: Floats
    rbo: Floats


def changes(evaluation: Evaluation, before: str, after: str) -> tuple[Change, ...]:
    """Every metric of every split and protocol."""
    first: dict[tuple[str, str, str], Scored] = {
        (entry.split, entry.protocol, entry.metric): entry for entry in evaluation.scores if entry.model == before
    }
    paired: dict[tuple[str, str], dict[str, Estimate]] = {}
    found = []
    for entry in evaluation.scores:
        if entry.model != after:
            continue
        place = (entry.split, entry.protocol)
        if place not in paired:
            paired[place] = evaluation.compare_all(before, after, *place)
        found.append(
            Change(
                split=entry.split,
                role=entry.role,
                protocol=entry.protocol,
                kind=entry.kind,
                metric=entry.metric,
                num_items=entry.num_items,
                primary=entry.primary,
                before=first[*place, entry.metric].estimate,
                after=entry.estimate,
                difference=paired[place][entry.metric],
            )
        )
    return tuple(found)


def with_answers(evaluation: Evaluation, model: str) -> tuple[tuple[str, str], ...]:
    """Each (split, protocol) that knows what is right; of a label-free protocol nothing is won or lost."""
    own = (entry for entry in evaluation.scores if entry.model == model and direction(entry.metric))
    return tuple(dict.fromkeys((entry.split, entry.protocol) for entry in own))


def slices(
    before: TaskOutcome,
    after: TaskOutcome,
    values: Mapping[str, Sequence[str | None]],
    metric: str,
    *,
    least: int,
    how: Resampling,
) -> tuple[SliceChange, ...]:
    """One metric by what items share, groups of fewer than `least` left out; the largest loss first.

    Args:
        values: of each name (an attribute), its value for each item; None: it has none.
    """
    found = []
    for name, own in values.items():
        column = np.array([value or "" for value in own])
        for value, count in zip(*np.unique(column, return_counts=True), strict=True):
            if not value or count < least:
                continue
            rows = np.flatnonzero(column == value)
            pair = [judged.outcome.take(rows) for judged in (before, after)]
            clusters = None if after.clusters is None else np.unique(after.clusters[rows], return_inverse=True)[1]
            scores = [estimates(outcome, clusters, how)[metric].value for outcome in pair]
            difference = differences(pair[0], pair[1], clusters, how)[metric]
            found.append(SliceChange(name, str(value), int(count), scores[0], scores[1], difference))
    return tuple(sorted(found, key=lambda each: each.difference.value))


def values_of(
    judged: TaskOutcome, catalog: Catalog, attributes: Sequence[str], newest: str | None = None
) -> dict[str, list[str | None]]:
    """What items may be grouped by: attributes of products; of queries in words, their length.

    Args:
        newest: the attribute by which products are new arrivals; None: there are none.
    """
    products = {product.product_id: product for product in catalog.products}
    if not all(item in products for item in judged.items):
        return {"query": [query_length(item) for item in judged.items]}
    found = {name: [products[item].attributes.get(name) for item in judged.items] for name in attributes}
    if newest is not None:
        found["arrival"] = new_arrivals([products[item].attributes.get(newest) for item in judged.items])
    return found


def new_arrivals(times: Sequence[str | None]) -> list[str | None]:
    """`new` of the newest tenth of the items that say when they came, `earlier` of the others that do.

    Args:
        times: numbers, or ISO dates, which sort as text; None: an item does not say.
    """
    known = [time for time in times if time is not None]
    if not known:
        return [None] * len(times)
    order: Callable[[str], Any] = float if all(map(_is_number, known)) else str
    since = sorted(map(order, known))[-max(1, round(NEWEST * len(known)))]
    return [None if time is None else "new" if order(time) >= since else "earlier" for time in times]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def query_length(query: str) -> str:
    """`short`, `middling` or `long`, by the number of words."""
    words = len(query.split())
    if words <= SHORT:
        return f"up to {SHORT} words"
    return f"{SHORT + 1} to {LONG} words" if words <= LONG else f"more than {LONG} words"


def flips(before: TaskOutcome, after: TaskOutcome) -> Flips:
    """Negative flips (well before, not now) and positive ones."""
    first, second = before.outcome.right, after.outcome.right
    return Flips(_rows(first & ~second), _rows(second & ~first))


def by_class(before: TaskOutcome, after: TaskOutcome, most: int = 3) -> tuple[ClassChange, ...]:
    """Recall of every class that has items; the one that lost most items first."""
    first, second = before.outcome, after.outcome
    assert isinstance(first, ClassificationOutcome)
    assert isinstance(second, ClassificationOutcome)
    found = []
    for number, name in enumerate(before.classes):
        rows = np.flatnonzero(second.labels == number)
        if not len(rows):
            continue
        others = second.predictions[rows]
        taken, counts = np.unique(others[(others != number) & (others >= 0)], return_counts=True)
        order = np.argsort(-counts, kind="stable")[:most]
        found.append(
            ClassChange(
                name=name,
                num_items=len(rows),
                before=float(first.right[rows].mean()),
                after=float(second.right[rows].mean()),
                taken_for=tuple((before.classes[taken[row]], int(counts[row])) for row in order),
            )
        )
    return tuple(sorted(found, key=lambda each: ((each.after - each.before) * each.num_items, -each.num_items)))


def confusion(judged: TaskOutcome) -> Ints:
    """int [classes, classes]: items of the row's class that were taken for the column's."""
    outcome = judged.outcome
    assert isinstance(outcome, ClassificationOutcome)
    matrix = np.zeros((outcome.num_classes, outcome.num_classes), np.int64)
    known = outcome.predictions >= 0
    np.add.at(matrix, (outcome.labels[known], outcome.predictions[known]), 1)
    return matrix


def ranking_change(before: TaskOutcome, after: TaskOutcome) -> RankingChange:
    """How far each query's first ten changed; both searched the same documents."""
    assert before.found is not None
    assert after.found is not None
    pairs = list(zip(before.found.ranked, after.found.ranked, strict=True))
    return RankingChange(
        overlap=np.array([_overlap(first, second) for first, second in pairs]),
        rbo=np.array([rank_biased_overlap(first, second) for first, second in pairs]),
    )


def rank_biased_overlap(first: Ints, second: Ints, persistence: float = PERSISTENCE) -> float:
    """Rank-biased overlap of two rankings cut at the same depth, divided by what equal ones have.

    The mean, over depths, of the share of items that both have so far, a depth weighing `persistence` times the one
    before it (Webber, Moffat and Zobel 2010, equation 4, cut).
    """
    depth = min(int((first >= 0).sum()), int((second >= 0).sum()))
    if not depth:
        return 0.0
    agreement = [len(set(first[:d]) & set(second[:d])) / d for d in range(1, depth + 1)]
    weights = persistence ** np.arange(depth)
    return float((weights * agreement).sum() / weights.sum())


def examples(count: int, key: Callable[[int], float], rows: Sequence[int]) -> tuple[int, ...]:
    """The `count` of `rows` with the least keys, ties by row."""
    return tuple(sorted(rows, key=lambda row: (key(row), row))[:count])


def _overlap(first: Ints, second: Ints) -> float:
    found = [set(ranked[ranked >= 0].tolist()) for ranked in (first, second)]
    return len(found[0] & found[1]) / max(len(found[0]), len(found[1]), 1)


def _rows(condition: np.ndarray) -> tuple[int, ...]:
    return tuple(int(row) for row in np.flatnonzero(condition))

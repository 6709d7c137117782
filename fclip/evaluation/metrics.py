"""Metrics: what each is called and whether more of it is better; and the metrics of rankings, cut at k.

Those of rankings are trec_eval's (recall, precision, average precision, nDCG with gain = grade and discount
1 / log2(rank + 1)).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fclip.evaluation.outcomes import Floats, Ints


@dataclass(frozen=True)
class Metric:
    """A metric that a protocol gives. A name means the same in every protocol that gives it.

    Attributes:
        name: as tables and params write it.
        label: for people.
        short: a label for a narrow column; "": `label`.
        direction: 1: more is better; -1: less is better; 0: no change is a gain or a loss.
    """

    name: str
    label: str
    short: str = ""
    direction: Literal[1, 0, -1] = 1


CLASSIFICATION = (
    Metric("acc1", "accuracy"),
    Metric("acc5", "accuracy in five"),
    Metric("mean_per_class_recall", "mean-per-class-recall"),
    Metric("macro_f1", "macro F1"),
    Metric("weighted_f1", "weighted F1"),
)
"""Metrics of a `ClassificationOutcome`."""
MRR = Metric("mrr", "MRR")


def names(metrics: Iterable[Metric]) -> tuple[str, ...]:
    """The metrics' names, in their order."""
    return tuple(metric.name for metric in metrics)


def recall_metrics(ks: Sequence[int]) -> tuple[Metric, ...]:
    """`recall_at_k` and `hit_at_k` for each k."""
    return tuple(
        Metric(f"{metric}_at_{k}", f"{metric} at {k}", f"{short}@{k}")
        for metric, short in (("recall", "R"), ("hit", "hit"))
        for k in ks
    )


def ranking_metrics(ks: Sequence[int]) -> tuple[Metric, ...]:
    """What `first_k_metrics` gives."""
    others = (("precision", "precision", "P"), ("map", "mAP", "mAP"), ("ndcg", "nDCG", "nDCG"))
    graded = [Metric(f"{name}_at_{k}", f"{label} at {k}", f"{short}@{k}") for name, label, short in others for k in ks]
    return (*recall_metrics(ks), *graded, MRR)


def first_k_metrics(
    grades: NDArray[np.integer], ideal: NDArray[np.integer], ks: Sequence[int], *, num_relevant: Ints
) -> dict[str, Floats]:
    """trec_eval's metrics of each query, float64 [q] each: recall, precision, map and ndcg at each k; mrr at the last.

    Args:
        grades: int [q, at least the largest k], the grade of each document found, in order; 0: not relevant.
        ideal: int [q, m], the greatest grades of each query's relevant documents, falling, then zeros.
        num_relevant: int [q], how many documents are relevant to each query, found or not.
    """
    depth = max(ks)
    gains = _padded(grades, depth)
    hits = gains > 0
    relevant = np.maximum(num_relevant, 1)
    places = np.arange(1, depth + 1)
    discounts = 1 / np.log2(places + 1)
    best = _padded(ideal, depth)
    precision = hits.cumsum(axis=1) / places
    found: dict[str, Floats] = {}
    for k in ks:
        found[f"recall_at_{k}"] = hits[:, :k].sum(axis=1) / relevant
        found[f"precision_at_{k}"] = hits[:, :k].sum(axis=1) / k
        found[f"hit_at_{k}"] = (hits[:, :k].sum(axis=1) > 0).astype(np.float64)
        found[f"map_at_{k}"] = (precision * hits)[:, :k].sum(axis=1) / relevant
        most = best[:, :k] @ discounts[:k]
        gained: Floats = (gains[:, :k] * discounts[:k]).sum(axis=1)
        found[f"ndcg_at_{k}"] = gained / np.where(most > 0, most, 1)
    first = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, np.inf)
    return {**found, "mrr": 1 / first}


def _padded(grades: NDArray[np.integer], depth: int) -> Floats:
    cut = grades[:, :depth]
    return np.pad(cut, ((0, 0), (0, depth - cut.shape[1]))).astype(np.float64)

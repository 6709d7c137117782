"""The declaration of metrics (name, label, direction), and ranking metrics at a cut-off k.

The ranking metrics follow trec_eval: recall, precision, average precision, and nDCG with gain = grade and discount
1 / log2(rank + 1).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fclip.evaluation.outcomes import Floats, Ints


@dataclass(frozen=True)
class Metric:
    """A metric of a protocol. A name has the same meaning in all protocols.

    Attributes:
        name: the name in tables and params.
        label: the name in reports.
        short: the label for a narrow column; "": use `label`.
        direction: 1: higher is better; -1: lower is better; 0: neither.
    """

    name: str
    label: str
    short: str = ""
    direction: Literal[1, 0, -1] = 1


CLASSIFICATION = (
    Metric("acc1", "accuracy"),
    Metric("acc5", "top-5 accuracy"),
    Metric("mean_per_class_recall", "mean per-class recall"),
    Metric("macro_f1", "macro F1"),
    Metric("weighted_f1", "weighted F1"),
)
"""Metrics of a `ClassificationOutcome`."""
MRR = Metric("mrr", "MRR")


def metric_names(metrics: Iterable[Metric]) -> tuple[str, ...]:
    """Return the names of the metrics in the same order."""
    return tuple(metric.name for metric in metrics)


def recall_metrics(ks: Sequence[int]) -> tuple[Metric, ...]:
    """Return `recall_at_k` and `hit_at_k` for each k."""
    return tuple(
        Metric(f"{metric}_at_{k}", f"{metric} at {k}", f"{short}@{k}")
        for metric, short in (("recall", "R"), ("hit", "hit"))
        for k in ks
    )


def ranking_metrics(ks: Sequence[int]) -> tuple[Metric, ...]:
    """Return the metrics that `first_k_metrics` computes."""
    others = (("precision", "precision", "P"), ("map", "mAP", "mAP"), ("ndcg", "nDCG", "nDCG"))
    graded = [Metric(f"{name}_at_{k}", f"{label} at {k}", f"{short}@{k}") for name, label, short in others for k in ks]
    return (*recall_metrics(ks), *graded, MRR)


def first_k_metrics(
    grades: NDArray[np.integer], ideal: NDArray[np.integer], ks: Sequence[int], *, num_relevant: Ints
) -> dict[str, Floats]:
    """Return trec_eval's metrics for each query: recall, precision, hit, map and ndcg at each k; mrr at the largest k.

    Args:
        grades: int [q, number of results], the grades of the results in ranked order; 0: not relevant.
        ideal: int [q, m], the highest grades of each query's relevant documents in descending order, padded with zeros.
        num_relevant: int [q], the number of documents relevant to each query, retrieved or not.

    Returns:
        metric -> float64 [q].
    """
    depth = max(ks)
    gains = _padded(grades, depth)
    hits = gains > 0
    relevant = np.maximum(num_relevant, 1)
    ranks = np.arange(1, depth + 1)
    discounts = 1 / np.log2(ranks + 1)
    best = _padded(ideal, depth)
    precision = hits.cumsum(axis=1) / ranks
    metrics: dict[str, Floats] = {}
    for k in ks:
        metrics[f"recall_at_{k}"] = hits[:, :k].sum(axis=1) / relevant
        metrics[f"precision_at_{k}"] = hits[:, :k].sum(axis=1) / k
        metrics[f"hit_at_{k}"] = (hits[:, :k].sum(axis=1) > 0).astype(np.float64)
        metrics[f"map_at_{k}"] = (precision * hits)[:, :k].sum(axis=1) / relevant
        ideal_dcg = best[:, :k] @ discounts[:k]
        dcg: Floats = (gains[:, :k] * discounts[:k]).sum(axis=1)
        metrics[f"ndcg_at_{k}"] = dcg / np.where(ideal_dcg > 0, ideal_dcg, 1)
    first = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, np.inf)
    return {**metrics, "mrr": 1 / first}


def _padded(grades: NDArray[np.integer], depth: int) -> Floats:
    cut = grades[:, :depth]
    return np.pad(cut, ((0, 0), (0, depth - cut.shape[1]))).astype(np.float64)

"""Metrics as functions of per-item outcomes, for one sample of the items or for many at once.

An outcome holds what happened to each item; `metrics(samples)` computes every metric on each row of `samples`, int
[r, n] of item indices (a bootstrap's resamples), or once on all items. Names follow CLIP_benchmark.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Outcome(Protocol):
    """What happened to each of n items under one protocol."""

    @property
    def num_items(self) -> int: ...

    def metrics(self, samples: Ints) -> dict[str, Floats]:
        """metric -> float64 [r], for `samples` int [r, n]."""
        ...


@dataclass(frozen=True)
class ClassificationOutcome:
    """labels, predictions: int [n], classes from 0; a prediction of -1 is of no class, and wrong."""

    labels: Ints
    predictions: Ints
    num_classes: int

    @property
    def num_items(self) -> int:
        return len(self.labels)

    def metrics(self, samples: Ints) -> dict[str, Floats]:
        """acc1, mean_per_class_recall, macro_f1 and weighted_f1 (scikit-learn's definitions, zero division = 0).

        Classes without an item in a sample are left out of the means of that sample, unless, for F1, predicted.
        """
        true = _counts(samples, self.labels, self.num_classes)
        hit = _counts(samples, np.where(self.labels == self.predictions, self.labels, -1), self.num_classes)
        predicted = _counts(samples, self.predictions, self.num_classes)
        with np.errstate(divide="ignore", invalid="ignore"):
            recall = np.where(true > 0, hit / true, 0.0)
            f1 = np.where(true + predicted > 0, 2 * hit / (true + predicted), 0.0)
        num_present = np.maximum((true > 0).sum(axis=1), 1)
        num_seen = np.maximum((true + predicted > 0).sum(axis=1), 1)
        total = np.maximum(true.sum(axis=1), 1)
        return {
            "acc1": hit.sum(axis=1) / total,
            "mean_per_class_recall": recall.sum(axis=1) / num_present,
            "macro_f1": f1.sum(axis=1) / num_seen,
            "weighted_f1": (f1 * true).sum(axis=1) / total,
        }


@dataclass(frozen=True)
class RetrievalOutcome:
    """For each of n queries, float [n]: the share of its relevant items in the first k, and 1 / rank of the first.

    With one relevant item a query, `recall_at_k` is a hit rate.
    """

    recall_at: dict[int, Floats]
    reciprocal_rank: Floats

    @property
    def num_items(self) -> int:
        return len(self.reciprocal_rank)

    def metrics(self, samples: Ints) -> dict[str, Floats]:
        """recall_at_1, recall_at_5, recall_at_10 and mrr."""
        values = {f"recall_at_{k}": recall[samples].mean(axis=1) for k, recall in self.recall_at.items()}
        return {**values, "mrr": self.reciprocal_rank[samples].mean(axis=1)}


def all_items(outcome: Outcome) -> Ints:
    """The one sample that holds each item once, int [1, n]."""
    return np.arange(outcome.num_items)[None]


def _counts(samples: Ints, classes: Ints, num_classes: int) -> Floats:
    """How often each class occurs in each sample, float64 [r, num_classes]; -1 is not counted."""
    drawn = classes[samples] + 1
    offsets = np.arange(len(samples))[:, None] * (num_classes + 1)
    flat = np.bincount((drawn + offsets).ravel(), minlength=len(samples) * (num_classes + 1))
    return flat.reshape(len(samples), num_classes + 1)[:, 1:].astype(np.float64)

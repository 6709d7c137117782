"""What happened to each item under a protocol, and metrics of it for any weighting of the items.

An outcome is of n items (images that were classified, queries that were searched). `metrics(weights)` computes every
metric for each row of `weights`, float [r, n]: how often each item counts, which is once for the metric itself and as
often as it was drawn for a bootstrap's resample.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Weights = NDArray[np.float32]

TOP = 5
BLOCK_ITEMS = 16_384


class Outcome(Protocol):
    """What happened to each of n items under one protocol."""

    @property
    def num_items(self) -> int: ...

    @property
    def right(self) -> NDArray[np.bool_]:
        """bool [n]: whether each item came out well."""
        ...

    def metrics(self, weights: Weights) -> dict[str, Floats]:
        """metric -> float64 [r], for `weights` [r, n]."""
        ...

    def take(self, rows: Ints) -> "Outcome":
        """The outcome of some of the items."""
        ...


@dataclass(frozen=True)
class ClassificationOutcome:
    """The class of each item and what was made of it.

    Attributes:
        labels: int [n], classes from 0.
        predictions: int [n]; -1 is of no class, and wrong.
        ranks: int [n], the true class's rank from 1 among all classes; 0 where there is none.
    """

    labels: Ints
    predictions: Ints
    ranks: Ints
    num_classes: int

    @property
    def num_items(self) -> int:
        return len(self.labels)

    @property
    def right(self) -> NDArray[np.bool_]:
        return self.labels == self.predictions

    def take(self, rows: Ints) -> "ClassificationOutcome":
        return ClassificationOutcome(self.labels[rows], self.predictions[rows], self.ranks[rows], self.num_classes)

    def metrics(self, weights: Weights) -> dict[str, Floats]:
        """acc1, acc5 (of more than five classes), mean_per_class_recall, macro_f1 and weighted_f1.

        F1 as scikit-learn defines it, zero division = 0: macro is the mean over classes, weighted that by their number
        of items (the paper's "weighted macro F1" may be either). Classes without an item in a sample are left out of
        the means of that sample, unless, for F1, predicted.
        """
        true = _by_class(weights, self.labels, self.num_classes)
        hit = _by_class(weights, np.where(self.right, self.labels, -1), self.num_classes)
        predicted = _by_class(weights, self.predictions, self.num_classes)
        with np.errstate(divide="ignore", invalid="ignore"):
            recall = np.where(true > 0, hit / true, 0.0)
            f1 = np.where(true + predicted > 0, 2 * hit / (true + predicted), 0.0)
        total = np.maximum(true.sum(axis=1), 1)
        top = {"acc5": weights @ _share(self.ranks <= TOP, self.ranks > 0) / total} if self.num_classes > TOP else {}
        return {
            "acc1": hit.sum(axis=1) / total,
            **top,
            "mean_per_class_recall": recall.sum(axis=1) / np.maximum((true > 0).sum(axis=1), 1),
            "macro_f1": f1.sum(axis=1) / np.maximum((true + predicted > 0).sum(axis=1), 1),
            "weighted_f1": (f1 * true).sum(axis=1) / total,
        }


@dataclass(frozen=True)
class MeanOutcome:
    """Metrics that are means over items (queries, most often).

    Attributes:
        values: metric -> float [n], one value an item.
        success: the metric whose value above 0 means that an item came out well.
    """

    values: Mapping[str, Floats]
    success: str = "hit_at_10"

    @property
    def num_items(self) -> int:
        return len(next(iter(self.values.values())))

    @property
    def right(self) -> NDArray[np.bool_]:
        return self.values[self.success] > 0

    def take(self, rows: Ints) -> "MeanOutcome":
        return MeanOutcome({metric: values[rows] for metric, values in self.values.items()}, self.success)

    def metrics(self, weights: Weights) -> dict[str, Floats]:
        total = np.maximum(weights.sum(axis=1, dtype=np.float64), 1)
        return {metric: (weights @ values) / total for metric, values in self.values.items()}


def once(outcome: Outcome) -> Weights:
    """The one sample that holds each item once, [1, n]."""
    return np.ones((1, outcome.num_items), np.float32)


def _share(*conditions: NDArray[np.bool_]) -> Floats:
    return np.logical_and.reduce(conditions).astype(np.float64)


def _by_class(weights: Weights, classes: Ints, num_classes: int) -> Floats:
    """The weight of each class in each sample, float64 [r, num_classes]; -1 is of none."""
    found = np.zeros((len(weights), num_classes))
    for begin in range(0, len(classes), BLOCK_ITEMS):  # a one-hot matrix of all items at once may be large
        block = classes[begin : begin + BLOCK_ITEMS]
        one_hot = (block[:, None] == np.arange(num_classes)).astype(np.float32)
        found += weights[:, begin : begin + BLOCK_ITEMS] @ one_hot
    return found

"""The outcome of each item under a protocol, and metrics of the outcomes for any weights of the items.

An outcome covers n items: images that were classified, or queries that were searched. `metrics(weights)` computes every
metric for each row of `weights`, float [r, n]. A weight is the number of times an item counts: 1 for the metric itself,
and the number of times it was drawn for a bootstrap resample.
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
    """The outcome of each of n items under one protocol."""

    @property
    def num_items(self) -> int: ...

    @property
    def correct(self) -> NDArray[np.bool_]:
        """bool [n]: whether each item is correct: the right class, or a relevant result for a query."""
        ...

    def metrics(self, weights: Weights) -> dict[str, Floats]:
        """Return metric -> float64 [r] for `weights` [r, n]."""
        ...

    def take(self, rows: Ints) -> "Outcome":
        """Return the outcome of the items in `rows`."""
        ...


@dataclass(frozen=True)
class ClassificationOutcome:
    """The true and the predicted class of each item.

    Attributes:
        labels: int [n], true classes from 0.
        predictions: int [n], predicted classes; -1: no class, which counts as wrong.
        ranks: int [n], the rank of the true class among all classes, from 1; 0: no rank.
    """

    labels: Ints
    predictions: Ints
    ranks: Ints
    num_classes: int

    @property
    def num_items(self) -> int:
        return len(self.labels)

    @property
    def correct(self) -> NDArray[np.bool_]:
        return self.labels == self.predictions

    def take(self, rows: Ints) -> "ClassificationOutcome":
        return ClassificationOutcome(self.labels[rows], self.predictions[rows], self.ranks[rows], self.num_classes)

    def metrics(self, weights: Weights) -> dict[str, Floats]:
        """Return acc1, acc5 (with more than five classes), mean_per_class_recall, macro_f1 and weighted_f1.

        F1 follows scikit-learn with zero division = 0. Macro F1 is the mean over classes; weighted F1 weights classes
        by their number of items (the FashionCLIP paper's "weighted macro F1" may be either). The means of a resample
        leave out classes without items in it, except, for macro F1, classes that were predicted.
        """
        true = _by_class(weights, self.labels, self.num_classes)
        hit = _by_class(weights, np.where(self.correct, self.labels, -1), self.num_classes)
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
    """Metrics that are means over items, usually queries.

    Attributes:
        values: metric -> float64 [n], one value per item.
        success: the metric whose value is above 0 for correct items.
    """

    values: Mapping[str, Floats]
    success: str = "hit_at_10"

    @property
    def num_items(self) -> int:
        return len(next(iter(self.values.values())))

    @property
    def correct(self) -> NDArray[np.bool_]:
        return self.values[self.success] > 0

    def take(self, rows: Ints) -> "MeanOutcome":
        return MeanOutcome({metric: values[rows] for metric, values in self.values.items()}, self.success)

    def metrics(self, weights: Weights) -> dict[str, Floats]:
        total = np.maximum(weights.sum(axis=1, dtype=np.float64), 1)
        return {metric: (weights @ values) / total for metric, values in self.values.items()}


def equal_weights(outcome: Outcome) -> Weights:
    """Return weights [1, n] that count each item once."""
    return np.ones((1, outcome.num_items), np.float32)


def _share(*conditions: NDArray[np.bool_]) -> Floats:
    return np.logical_and.reduce(conditions).astype(np.float64)


def _by_class(weights: Weights, classes: Ints, num_classes: int) -> Floats:
    """Return the total weight of each class in each resample, float64 [r, num_classes]; class -1 is ignored."""
    totals = np.zeros((len(weights), num_classes))
    for begin in range(0, len(classes), BLOCK_ITEMS):  # in blocks, since a one-hot matrix of all items may be large
        block = classes[begin : begin + BLOCK_ITEMS]
        one_hot = (block[:, None] == np.arange(num_classes)).astype(np.float32)
        totals += weights[:, begin : begin + BLOCK_ITEMS] @ one_hot
    return totals

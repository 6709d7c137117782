"""Numbers of audits with bootstrap intervals: means over items, the worst of several means, and shares in words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fclip.audits.result import Measure
from fclip.evaluation.bootstrap import Resampling, resamples
from fclip.evaluation.outcomes import Floats, Ints

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Means:
    """The means of k quantities over the same items.

    Attributes:
        values: float64 [k]; NaN for a quantity without items.
        draws: float64 [resamples, k], the means in each resample; quantities share the resamples, so they are paired.
        num_items: int [k], the number of items of each quantity.
    """

    values: Floats
    draws: Floats
    num_items: Ints
    resampling: Resampling

    def measure(self, column: int, name: str, label: str, group: str = "") -> Measure:
        """Return one of the means with its percentile interval."""
        return measure(
            *(name, label, float(self.values[column]), self.draws[:, column]),
            *(int(self.num_items[column]), self.resampling, group),
        )


def bootstrap_means(values: Floats, clusters: Ints | None, resampling: Resampling) -> Means:
    """Return the means of the columns of `values`, float [n, k], over the items where they are not NaN.

    Args:
        clusters: int [n], the cluster of each item, which are resampled together; None: every item is a cluster.
    """
    known = ~np.isnan(values)
    filled, counted = np.where(known, values, 0.0), known.astype(np.float64)
    num_items = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = filled.sum(axis=0) / num_items
        blocks = [(weights @ filled) / (weights @ counted) for weights in resamples(len(values), clusters, resampling)]
    draws = np.concatenate(blocks)
    draws = np.where(np.isnan(draws), means, draws)  # a resample without one of the few items says nothing new
    return Means(means, draws, num_items.astype(np.int64), resampling)


def measure(
    name: str, label: str, value: float, draws: Floats, num_items: int, resampling: Resampling, group: str = ""
) -> Measure:
    """Return a measure with the percentile interval of its draws, float64 [resamples]."""
    low, high = np.quantile(draws, [(1 - resampling.confidence) / 2, (1 + resampling.confidence) / 2])
    return Measure(name, label, value, min(float(low), value), max(float(high), value), num_items, group)


def at_least_zero(measure: Measure) -> Measure:
    """Return the measure with what is below zero set to zero: better than perfect counts as perfect."""
    return Measure(
        *(measure.name, measure.label, max(measure.value, 0.0), max(measure.low, 0.0), max(measure.high, 0.0)),
        *(measure.num_items, measure.group),
    )


@dataclass(frozen=True)
class Worst:
    """The largest of several means, with an interval that holds for all of them at once.

    Attributes:
        column: which of the means is the largest.
        low, high: simultaneous bounds of the largest mean (the bootstrap of the largest studentised deviation), so that
            the largest of many noisy numbers is not taken for a finding.
    """

    column: int
    value: float
    low: float
    high: float


def worst(means: Means, columns: Sequence[int]) -> Worst:
    """Return the largest of the means in `columns`."""
    chosen = list(columns)
    values, draws = means.values[chosen], means.draws[:, chosen]
    errors = np.maximum(draws.std(axis=0, ddof=1), 1e-9)
    deviations = np.abs(draws - values) / errors
    width = np.quantile(deviations.max(axis=1), means.resampling.confidence) * errors
    largest = int(values.argmax())
    return Worst(chosen[largest], float(values[largest]), float((values - width).max()), float((values + width).max()))


def per_hundred(share: float) -> str:
    """Return a share as "61 of 100"."""
    return f"{round(100 * share)} of 100"


def points(share: float) -> str:
    """Return a difference of shares in points: "3.2 points"."""
    return f"{100 * share:.1f} points"


def snake_names(labels: Sequence[str]) -> dict[str, str]:
    """Return a distinct part of a measure's name for each distinct label: "Casual Shoes" is `casual_shoes`."""
    names: dict[str, str] = {}
    for label in labels:
        words = "".join(letter if letter.isalnum() else " " for letter in label.casefold()).split()
        name, number = "_".join(words), 2
        while name in names.values():
            name, number = "_".join([*words, str(number)]), number + 1
        names.setdefault(label, name)
    return names

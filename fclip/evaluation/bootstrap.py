"""The bootstrap over items: intervals of a metric, and of the difference of two models on the same items.

Percentile intervals (Efron 1979). Resamples depend on the seed and the number of items alone, so that two models'
values on the same items are paired by construction.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fclip.evaluation.metrics import Floats, Ints, Outcome, all_items

MAX_DRAWN = 4_000_000  # item indices in memory at once


@dataclass(frozen=True)
class Estimate:
    """A metric with its bootstrap interval and standard error."""

    value: float
    low: float
    high: float
    standard_error: float


def estimates(outcome: Outcome, *, resamples: int, confidence: float, seed: int) -> dict[str, Estimate]:
    """Every metric of an outcome."""
    values = outcome.metrics(all_items(outcome))
    drawn = _resampled(outcome, resamples, seed)
    return {metric: _estimate(float(value[0]), drawn[metric], confidence) for metric, value in values.items()}


def difference(
    metric: str, first: Outcome, second: Outcome, *, resamples: int, confidence: float, seed: int
) -> Estimate:
    """second − first on one metric, paired: both must be of the same items in the same order."""
    assert first.num_items == second.num_items
    value = second.metrics(all_items(second))[metric] - first.metrics(all_items(first))[metric]
    drawn = _resampled(second, resamples, seed)[metric] - _resampled(first, resamples, seed)[metric]
    return _estimate(float(value[0]), drawn, confidence)


def _estimate(value: float, drawn: Floats, confidence: float) -> Estimate:
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(value, float(low), float(high), float(drawn.std(ddof=1)))


def _resampled(outcome: Outcome, resamples: int, seed: int) -> dict[str, Floats]:
    parts = [outcome.metrics(samples) for samples in _samples(outcome.num_items, resamples, seed)]
    return {metric: np.concatenate([part[metric] for part in parts]) for metric in parts[0]}


def _samples(num_items: int, resamples: int, seed: int) -> Iterator[Ints]:
    random = np.random.default_rng([seed, num_items])
    rows = max(1, MAX_DRAWN // num_items)
    for begin in range(0, resamples, rows):
        yield random.integers(num_items, size=(min(rows, resamples - begin), num_items))

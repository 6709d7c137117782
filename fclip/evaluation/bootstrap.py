"""Bootstrap over items: confidence intervals of a metric, and of the difference between two models on the same items.

The intervals are percentile intervals (Efron 1979). If items form clusters, such as groups of near-duplicate products,
whole clusters are resampled. The resamples depend only on the seed and the clusters, so the values of two models on the
same items are paired.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from fclip.evaluation.outcomes import Floats, Ints, Outcome, Weights, equal_weights

MAX_WEIGHTS = 4_000_000  # in memory at once


@dataclass(frozen=True)
class Resampling:
    """Settings of the bootstrap: number of resamples, confidence of the intervals, and seed."""

    resamples: int
    confidence: float
    seed: int


@dataclass(frozen=True)
class Estimate:
    """A metric with its bootstrap interval and standard error.

    Attributes:
        draws: float64 [resamples], the metric in each resample. Models scored on the same items share the resamples.
    """

    value: float
    low: float
    high: float
    standard_error: float
    draws: Floats = field(compare=False, repr=False)

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval excludes zero, so that a difference is significant."""
        return self.low > 0 or self.high < 0


def estimates(outcome: Outcome, clusters: Ints | None, resampling: Resampling) -> dict[str, Estimate]:
    """Return every metric of an outcome with its interval.

    Args:
        clusters: int [n], the cluster of each item, from 0; None: every item is a cluster.
    """
    values = outcome.metrics(equal_weights(outcome))
    draws = _resampled(outcome, clusters, resampling)
    return {metric: _estimate(float(value[0]), draws[metric], resampling) for metric, value in values.items()}


def differences(first: Outcome, second: Outcome, clusters: Ints | None, resampling: Resampling) -> dict[str, Estimate]:
    """Return second − first on every metric, paired. Both outcomes must have the same items in the same order."""
    assert first.num_items == second.num_items
    values = [outcome.metrics(equal_weights(outcome)) for outcome in (first, second)]
    draws = [_resampled(outcome, clusters, resampling) for outcome in (first, second)]
    return {
        metric: _estimate(float(value[0] - values[0][metric][0]), draws[1][metric] - draws[0][metric], resampling)
        for metric, value in values[1].items()
    }


def _estimate(value: float, draws: Floats, resampling: Resampling) -> Estimate:
    low, high = np.quantile(draws, [(1 - resampling.confidence) / 2, (1 + resampling.confidence) / 2])
    return Estimate(value, float(low), float(high), float(draws.std(ddof=1)), draws)


def _resampled(outcome: Outcome, clusters: Ints | None, resampling: Resampling) -> dict[str, Floats]:
    blocks = [outcome.metrics(weights) for weights in resamples(outcome.num_items, clusters, resampling)]
    return {metric: np.concatenate([block[metric] for block in blocks]) for metric in blocks[0]}


def resamples(num_items: int, clusters: Ints | None, resampling: Resampling) -> Iterator[Weights]:
    """Yield blocks of weights [r, n], how often each item is in each resample; `resampling.resamples` rows in total."""
    num_units = num_items if clusters is None else int(clusters.max()) + 1
    random = np.random.default_rng([resampling.seed, num_units])
    rows = max(1, MAX_WEIGHTS // max(num_items, num_units))
    for begin in range(0, resampling.resamples, rows):
        num_rows = min(rows, resampling.resamples - begin)
        drawn = random.integers(num_units, size=(num_rows, num_units))
        drawn += np.arange(num_rows)[:, None] * num_units
        counts = np.bincount(drawn.ravel(), minlength=num_rows * num_units).reshape(num_rows, num_units)
        weights: Weights = counts.astype(np.float32)
        yield weights if clusters is None else weights[:, clusters]

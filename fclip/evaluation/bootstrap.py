"""The bootstrap over items: intervals of a metric, and of the difference of two models on the same items.

Percentile intervals (Efron 1979). Where items come in clusters (products that near-duplicates tie together), whole
clusters are drawn. Resamples depend on the seed and the clusters alone, so that two models' values on the same items
are paired by construction.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from fclip.evaluation.outcomes import Floats, Ints, Outcome, Weights, once

MAX_DRAWN = 4_000_000  # weights in memory at once


@dataclass(frozen=True)
class Resampling:
    """How intervals are made: resamples, their confidence, the seed."""

    resamples: int
    confidence: float
    seed: int


@dataclass(frozen=True)
class Estimate:
    """A metric with its bootstrap interval and standard error.

    Attributes:
        draws: float64 [resamples], the metric in each: two models' on the same items are of the same resamples.
    """

    value: float
    low: float
    high: float
    standard_error: float
    draws: Floats = field(compare=False, repr=False)

    @property
    def excludes_zero(self) -> bool:
        """Whether, of a difference, it may be called one."""
        return self.low > 0 or self.high < 0


def estimates(outcome: Outcome, clusters: Ints | None, how: Resampling) -> dict[str, Estimate]:
    """Every metric of an outcome.

    Args:
        clusters: int [n], which cluster each item is of, from 0; None: each is its own.
    """
    values = outcome.metrics(once(outcome))
    drawn = _resampled(outcome, clusters, how)
    return {metric: _estimate(float(value[0]), drawn[metric], how) for metric, value in values.items()}


def differences(first: Outcome, second: Outcome, clusters: Ints | None, how: Resampling) -> dict[str, Estimate]:
    """second − first on every metric, paired: both must be of the same items in the same order."""
    assert first.num_items == second.num_items
    values = [outcome.metrics(once(outcome)) for outcome in (first, second)]
    drawn = [_resampled(outcome, clusters, how) for outcome in (first, second)]
    return {
        metric: _estimate(float(value[0] - values[0][metric][0]), drawn[1][metric] - drawn[0][metric], how)
        for metric, value in values[1].items()
    }


def _estimate(value: float, drawn: Floats, how: Resampling) -> Estimate:
    low, high = np.quantile(drawn, [(1 - how.confidence) / 2, (1 + how.confidence) / 2])
    return Estimate(value, float(low), float(high), float(drawn.std(ddof=1)), drawn)


def _resampled(outcome: Outcome, clusters: Ints | None, how: Resampling) -> dict[str, Floats]:
    parts = [outcome.metrics(weights) for weights in resamples(outcome.num_items, clusters, how)]
    return {metric: np.concatenate([part[metric] for part in parts]) for metric in parts[0]}


def resamples(num_items: int, clusters: Ints | None, how: Resampling) -> Iterator[Weights]:
    """How often each item is drawn in each resample: blocks of rows [r, n], `how.resamples` rows in all."""
    num_units = num_items if clusters is None else int(clusters.max()) + 1
    random = np.random.default_rng([how.seed, num_units])
    rows = max(1, MAX_DRAWN // max(num_items, num_units))
    for begin in range(0, how.resamples, rows):
        num_rows = min(rows, how.resamples - begin)
        drawn = random.integers(num_units, size=(num_rows, num_units))
        drawn += np.arange(num_rows)[:, None] * num_units
        counts = np.bincount(drawn.ravel(), minlength=num_rows * num_units).reshape(num_rows, num_units)
        weights: Weights = counts.astype(np.float32)
        yield weights if clusters is None else weights[:, clusters]

"""Association of a score with the values of an attribute beyond what the labels of the products explain."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fclip.audits.result import Measure
from fclip.evaluation.bootstrap import Resampling, resamples
from fclip.evaluation.outcomes import Floats, Ints

MIN_VALUE = 5
"""Smallest number of products of a value, such as a category."""
MIN_PRODUCTS = 50
LARGEST = 0.5
"""Distance of a product whose score is not finite."""


@dataclass(frozen=True)
class Association:
    """How far the values of an attribute stand from where the labels of their products put them.

    Attributes:
        effect_size: mean distance in shares of the list, less the mean of the permutations. low, high: its interval.
        probability: share of the permutations with at least the same distance.
        num_products: without near-duplicates.
    """

    name: str
    effect_size: float
    low: float
    high: float
    probability: float
    num_products: int

    def effect(self, group: str) -> Measure:
        return Measure(
            *(f"association_{self.name}", self.name, self.effect_size, self.low, self.high, self.num_products, group)
        )

    def chance(self, group: str) -> Measure:
        p = self.probability
        return Measure(f"probability_{self.name}", self.name, p, p, p, self.num_products, group)


def associate(
    name: str,
    score: Floats,
    labels: Sequence[str | None],
    values: Sequence[str | None],
    clusters: Ints | None,
    resampling: Resampling,
) -> Association | None:
    """Return the association of a score with values, beyond the labels, or None if there is too little to compare.

    The percentile of each product's score, less the mean of its label, is averaged by value; the statistic is the mean
    distance of these averages from zero. It is compared with permutations of the values among products of one label,
    which keep the catalog's own shares of labels in values.

    Near-duplicates have almost the same score, and permutations and resamples would take them for so many findings. So
    one product of each cluster counts, the first that has a label and a value.

    Args:
        score: float64 [n]; a product whose score is not finite counts as far from its label as can be.
        labels, values: the label and the value of each product; products without one of them are left out.
        clusters: int [n], the cluster of near-duplicates of each product; None: each on its own.
    """
    known = [row for row, pair in enumerate(zip(labels, values, strict=True)) if None not in pair]
    if clusters is not None:
        known = [known[place] for place in np.sort(np.unique(clusters[known], return_index=True)[1])]
    counts = {value: sum(values[row] == value for row in known) for value in {values[row] for row in known}}
    rows = np.array([row for row in known if counts[values[row]] >= MIN_VALUE], np.int64)
    number_of_values = len({values[row] for row in rows})
    if len(rows) < MIN_PRODUCTS or number_of_values < 2:
        return None
    strata = np.unique([str(labels[row]) for row in rows], return_inverse=True)[1]
    codes = np.unique([str(values[row]) for row in rows], return_inverse=True)[1]
    finite = np.isfinite(score[rows])
    order = _mean_ranks(np.where(finite, score[rows], np.inf))
    sums, sizes = np.bincount(strata, order), np.bincount(strata)
    residual = (order - (sums / sizes)[strata]) / max(len(rows) - 1, 1)
    residual = np.where(finite, residual, 0.0)
    random = np.random.default_rng([resampling.seed, len(rows)])
    one_hot = np.eye(int(codes.max()) + 1)[codes]
    permuted = np.array(
        [_distance(residual, one_hot[_within(strata, random)]) for _ in range(resampling.resamples)], np.float64
    )
    measured, expected = _distance(residual, one_hot), float(permuted.mean())
    draws = np.concatenate(
        [
            np.abs((weights * residual) @ one_hot).sum(axis=1) / weights.sum(axis=1)
            for weights in resamples(len(rows), None, resampling)
        ]
    )
    draws -= (
        draws.mean() - measured
    )  # the means of a resample are as noisy again: without this, all draws are too large
    unknown = LARGEST * float((~finite).mean())
    low, high = (
        np.quantile(draws, [(1 - resampling.confidence) / 2, (1 + resampling.confidence) / 2]) - expected + unknown
    )
    size = measured - expected + unknown
    probability = float((1 + (permuted >= measured - 1e-12).sum()) / (1 + len(permuted)))
    return Association(name, size, min(float(low), size), max(float(high), size), probability, len(rows))


def _distance(residual: Floats, one_hot: Floats) -> float:
    return float(np.abs(residual @ one_hot).sum() / len(residual))


def _mean_ranks(values: Floats) -> Floats:
    """Return the rank of each value from 0; equal values have the mean of their ranks."""
    _, places, sizes = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(sizes) - (sizes + 1) / 2)[places])


def _within(strata: Ints, random: np.random.Generator) -> Ints:
    """Return a permutation of the rows that keeps every row in its stratum."""
    result = np.empty(len(strata), np.int64)
    for stratum in range(int(strata.max()) + 1):
        rows = np.flatnonzero(strata == stratum)
        result[rows] = random.permutation(rows)
    return result

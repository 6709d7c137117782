"""The population stability index: how far counts over the same bins have moved.

PSI = Σ (c − r) ln(c / r) over the bins' shares r (reference) and c (current): the symmetrised Kullback-Leibler
divergence (Jeffreys 1946). The rule of thumb in credit scoring calls below 0.1 a little change, 0.1 to 0.25 a moderate
one, above 0.25 a significant one. Without any change PSI is still above 0 by chance, about as χ² with one degree of
freedom less than bins, times (1/n + 1/m); B. Yurdakul and J. Naranjo, "Statistical properties of the population
stability index", Journal of Risk Model Validation 14 (2020). So of few products, or over many bins, the rule of thumb
alone would find change where there is none.
"""

import math
from collections.abc import Sequence

import numpy as np

SMOOTHING = 0.5
NORMAL_99 = 2.3263479  # the 99 % quantile of the standard normal


def population_stability_index(
    reference: Sequence[int], current: Sequence[int], *, smoothing: float = SMOOTHING
) -> float:
    """PSI between two rows of counts over the same bins; bins empty in both are left out.

    `smoothing` is added to every count on both sides, so that a bin empty on one side weighs much, but not infinitely.
    0 where nothing can be compared: one side has no counts, or there is one bin.
    """
    counts = np.array([reference, current], dtype=float).reshape(2, -1)
    if not counts.sum(axis=1).all():
        return 0.0
    counts = counts[:, counts.sum(axis=0) > 0] + smoothing
    r, c = counts / counts.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        return float(np.sum((c - r) * np.log(c / r)))


def by_chance(num_bins: int, num_reference: int, num_current: int) -> float:
    """What PSI stays below 99 times of 100 where both sides are drawn from one population.

    The χ² quantile is Wilson and Hilferty's approximation (1931).
    """
    k = num_bins - 1
    if k < 1 or not num_reference or not num_current:
        return 0.0
    quantile = k * (1 - 2 / (9 * k) + NORMAL_99 * math.sqrt(2 / (9 * k))) ** 3
    return quantile * (1 / num_reference + 1 / num_current)

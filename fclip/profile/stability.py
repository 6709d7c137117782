"""The population stability index (PSI): the change of counts over the same bins.

PSI = Σ (c − r) ln(c / r) over the bins' shares r (reference) and c (current). It is the symmetrised Kullback-Leibler
divergence (Jeffreys 1946). By the rule of thumb of credit scoring, PSI below 0.1 is a small change, 0.1 to 0.25 a
moderate one, and above 0.25 a significant one. Without any change PSI is still above 0 by chance: it is distributed
about as (1/n + 1/m) χ² with one degree of freedom less than there are bins (B. Yurdakul and J. Naranjo, "Statistical
properties of the population stability index", Journal of Risk Model Validation 14 (2020)). With few products or many
bins, the rule of thumb alone would report drift where there is none.
"""

import math
from collections.abc import Sequence

import numpy as np

SMOOTHING = 0.5
NORMAL_99 = 2.3263479  # the 99 % quantile of the standard normal


def population_stability_index(
    reference: Sequence[int], current: Sequence[int], *, smoothing: float = SMOOTHING
) -> float:
    """Return the PSI between two rows of counts over the same bins. Bins that are empty in both are left out.

    `smoothing` is added to every count, so that a bin that is empty in one row has a large but finite weight. The
    result is 0 if a row has no counts or there is only one bin.
    """
    counts = np.array([reference, current], dtype=float).reshape(2, -1)
    if not counts.sum(axis=1).all():
        return 0.0
    counts = counts[:, counts.sum(axis=0) > 0] + smoothing
    r, c = counts / counts.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        return float(np.sum((c - r) * np.log(c / r)))


def psi_chance_bound(num_bins: int, num_reference: int, num_current: int) -> float:
    """Return the 99 % quantile of PSI when both rows are samples of the same population.

    The χ² quantile is the approximation of Wilson and Hilferty (1931).
    """
    k = num_bins - 1
    if k < 1 or not num_reference or not num_current:
        return 0.0
    quantile = k * (1 - 2 / (9 * k) + NORMAL_99 * math.sqrt(2 / (9 * k))) ** 3
    return quantile * (1 / num_reference + 1 / num_current)

"""Rankings: the best of many scores, and the fusion of two rankings."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Ints = NDArray[np.int64]
FUSION_CONSTANT = 60  # of Cormack, Clarke and Büttcher, "Reciprocal rank fusion", SIGIR 2009


def best(scores: FloatArray, k: int) -> Ints:
    """Return the indices of the k highest scores [n], in descending order. −inf is in no result.

    Equal scores are in the order of their indices.
    """
    k = min(k, len(scores))
    if k == 0:
        return np.empty(0, np.int64)
    limit = np.partition(scores, len(scores) - k)[len(scores) - k] if k < len(scores) else scores.min()
    candidates = np.flatnonzero((scores >= limit) & (scores > -np.inf))
    return candidates[np.argsort(-scores[candidates], kind="stable")][:k]


def fuse(rankings: Sequence[Ints]) -> tuple[Ints, FloatArray]:
    """Return the items of several rankings by the sum of their reciprocal ranks, and these sums, descending.

    An item has the score Σ 1 / (60 + rank) over the rankings that contain it; the first rank is 1.
    """
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking.tolist(), start=1):
            scores[item] = scores.get(item, 0.0) + 1 / (FUSION_CONSTANT + rank)
    ordered = sorted(scores, key=lambda item: (-scores[item], item))
    return np.array(ordered, np.int64), np.array([scores[item] for item in ordered], np.float32)

"""Rules that read the primary metrics on out-of-domain datasets."""

import numpy as np

from fclip.selection.candidates import Floats, Pool
from fclip.selection.rules.registry import Rule

MIN_GAIN = -1.0


def gains(pool: Pool) -> Floats:
    """Return the normalised gain on each out-of-domain dataset: (score − base) / max(ε, best − base), at least −1.

    ε is the base model's bootstrap standard error on the dataset, so that noise does not become a gain of 1. The bound
    of −1 makes a loss count at most as much as the largest gain; otherwise one dataset with a large loss would decide
    alone.

    Returns:
        float64 [..., n, d].
    """
    base = pool.out_of_domain[..., :1, :]
    best = pool.out_of_domain[..., pool.finite, :].max(axis=-2, keepdims=True)
    scale = np.maximum(np.maximum(pool.noise, 1e-12), best - base)
    gain: Floats = np.maximum(MIN_GAIN, (pool.out_of_domain - base) / scale)
    return gain


def mean_normalised_gain(pool: Pool) -> Floats:
    """Mean of `gains` over the datasets."""
    score: Floats = gains(pool).mean(axis=-1)
    return score


def mean_score(pool: Pool) -> Floats:
    """Mean of the primary metrics over the datasets, without normalisation."""
    score: Floats = pool.out_of_domain.mean(axis=-1)
    return score


def mean_rank(pool: Pool) -> Floats:
    """Negative mean rank over the datasets. Equal scores share the mean of their ranks."""
    scores, others = pool.out_of_domain[..., :, None, :], pool.out_of_domain[..., None, :, :]
    ranks = 0.5 + (others > scores).sum(axis=-2) + (others == scores).sum(axis=-2) / 2
    score: Floats = -ranks.mean(axis=-1)
    return score


MEAN_NORMALISED_GAIN = Rule(
    kind="mean_normalised_gain",
    label="mean normalised gain",
    description="Highest mean gain over the base model out of domain, each dataset scaled by its largest gain",
    score=mean_normalised_gain,
    reads_out_of_domain=True,
    scores_items=True,
)
MEAN_SCORE = Rule(
    kind="mean_score",
    label="mean score",
    description="Highest mean primary metric out of domain",
    score=mean_score,
    reads_out_of_domain=True,
    scores_items=True,
)
MEAN_RANK = Rule(
    kind="mean_rank",
    label="mean rank",
    description="Best mean rank among the candidates out of domain",
    score=mean_rank,
    reads_out_of_domain=True,
    scores_items=True,
)

"""Rules that read the primary metrics on out-of-domain datasets."""

import numpy as np

from fclip.selection.candidates import Floats, Pool
from fclip.selection.rules.registry import Rule

LEAST_GAIN = -1.0


def gains(pool: Pool) -> Floats:
    """Normalised gain on each out-of-domain dataset, [..., n, d]: (score − base) / max(ε, best − base), at least −1.

    ε is the base model's bootstrap standard error there: it keeps noise from becoming a gain of 1. A loss counts as
    much as the largest gain and no more: otherwise one dataset with a large loss would decide alone.
    """
    base = pool.out_of_domain[..., :1, :]
    best = pool.out_of_domain[..., pool.finite, :].max(axis=-2, keepdims=True)
    scale = np.maximum(np.maximum(pool.noise, 1e-12), best - base)
    found: Floats = np.maximum(LEAST_GAIN, (pool.out_of_domain - base) / scale)
    return found


def mean_normalised_gain(pool: Pool) -> Floats:
    """The mean of `gains` over the datasets."""
    found: Floats = gains(pool).mean(axis=-1)
    return found


def mean_score(pool: Pool) -> Floats:
    """The mean of the datasets' primary metrics, whatever their scales."""
    found: Floats = pool.out_of_domain.mean(axis=-1)
    return found


def mean_rank(pool: Pool) -> Floats:
    """Minus the mean rank over the datasets; equal scores share the mean of their ranks."""
    own, others = pool.out_of_domain[..., :, None, :], pool.out_of_domain[..., None, :, :]
    ranks = 0.5 + (others > own).sum(axis=-2) + (others == own).sum(axis=-2) / 2
    found: Floats = -ranks.mean(axis=-1)
    return found


MEAN_NORMALISED_GAIN = Rule(
    kind="mean_normalised_gain",
    label="mean normalised gain",
    description="Highest mean gain over the base model out of domain, on each dataset as a share of the largest gain",
    score=mean_normalised_gain,
    reads_out_of_domain=True,
    scores_items=True,
)
MEAN_SCORE = Rule(
    kind="mean_score",
    label="mean score",
    description="Highest mean of the primary metrics out of domain",
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

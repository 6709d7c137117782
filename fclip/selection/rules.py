"""The rules: each gives every candidate a score, and the highest wins, unless the start does (`beats_start`).

A rule reads a `Pool` of n candidates and returns float64 [..., n], with a leading axis where the pool has resamples.
Rules that read outside datasets fall back to the in-domain metric where there are none.
"""

from collections.abc import Callable

import numpy as np

from fclip.selection.candidates import Floats, Pool

LEAST_GAIN = -1.0
Rule = Callable[[Pool], Floats]


def gains(pool: Pool) -> Floats:
    """Normalised gain on each outside dataset, [..., n, d]: (score − start) / max(ε, best − start), at least −1.

    ε is the start's bootstrap standard error there, so that noise is not blown up to a gain of 1. What is lost counts
    as much as what could be won, and no more, or one ruined dataset would decide alone.
    """
    start = pool.outside[..., :1, :]
    best = pool.outside[..., pool.finite, :].max(axis=-2, keepdims=True)
    scale = np.maximum(np.maximum(pool.noise, 1e-12), best - start)
    found: Floats = np.maximum(LEAST_GAIN, (pool.outside - start) / scale)
    return found


def mean_normalised_gain(pool: Pool) -> Floats:
    """The mean over the outside datasets."""
    found: Floats = gains(pool).mean(axis=-1)
    return found


def worst_gain(pool: Pool) -> Floats:
    """The least normalised gain of the outside datasets."""
    found: Floats = gains(pool).min(axis=-1)
    return found


def mean_score(pool: Pool) -> Floats:
    """The mean of the outside datasets' primary metrics, whatever their scales."""
    found: Floats = pool.outside.mean(axis=-1)
    return found


def mean_rank(pool: Pool) -> Floats:
    """Minus the mean rank over the outside datasets, equal scores sharing theirs."""
    own, others = pool.outside[..., :, None, :], pool.outside[..., None, :, :]
    ranks = 0.5 + (others > own).sum(axis=-2) + (others == own).sum(axis=-2) / 2
    found: Floats = -ranks.mean(axis=-1)
    return found


def in_domain_metric(pool: Pool) -> Floats:
    """The primary metric on in-domain validation."""
    return pool.in_domain


def in_domain_loss(pool: Pool) -> Floats:
    """Minus the validation loss: what pipelines commonly choose by, and what the FashionCLIP card warns of."""
    return -pool.val_loss


def last(pool: Pool) -> Floats:
    """The end of training."""
    return pool.steps


def margin(pool: Pool) -> Floats:
    """How far the nearest class is from the second, on outside images without their labels."""
    return _label_free(pool, "margin")


def alignment(pool: Pool) -> Floats:
    """How near outside images are to a class, without their labels (Wang & Isola 2020)."""
    return -_label_free(pool, "alignment")


def uniformity(pool: Pool) -> Floats:
    """How evenly outside images lie on the sphere (Wang & Isola 2020)."""
    return -np.log(np.maximum(_label_free(pool, "uniformity"), 1e-12))


def _label_free(pool: Pool, metric: str) -> Floats:
    found: Floats = pool.label_free[metric].mean(axis=-1)
    return found


OUTSIDE: dict[str, Rule] = {
    "mean_normalised_gain": mean_normalised_gain,
    "worst_gain": worst_gain,
    "mean_score": mean_score,
    "mean_rank": mean_rank,
}
"""Rules that read the scores of outside datasets."""
IN_DOMAIN: dict[str, Rule] = {"in_domain_loss": in_domain_loss, "in_domain_metric": in_domain_metric, "last": last}
LABEL_FREE: dict[str, Rule] = {"margin": margin, "alignment": alignment, "uniformity": uniformity}
"""Rules that read what a protocol of the kind `label-free` measured."""
RULES: dict[str, Rule] = {**OUTSIDE, **IN_DOMAIN, **LABEL_FREE}
SAMPLED = {*OUTSIDE, "in_domain_metric"}
"""Rules whose scores are of items, so that resamples say how sure they are."""


def apply(name: str, pool: Pool) -> Floats:
    """The scores of the rule `name`, [..., n].

    Raises:
        KeyError: a label-free rule, and its metric was not measured.
    """
    if name in OUTSIDE and not pool.outside.shape[-1]:
        return in_domain_metric(pool)
    return RULES[name](pool)


def beats_start(name: str, pool: Pool, row: int) -> bool:
    """Whether a candidate beats a start that is not held to what is expected in domain.

    A rule that reads outside datasets then counts what is in domain as one more: what was won there was won.
    """
    scores = apply(name, pool.everywhere() if name in OUTSIDE else pool)
    return bool(scores[row] > scores[0])


def applicable(pool: Pool) -> list[str]:
    """The names of the rules that have what they read."""
    return [name for name in RULES if name not in LABEL_FREE or name in pool.label_free]

"""The rules: each gives every candidate a score, and the highest wins. The start is a candidate like any other."""

from collections.abc import Callable, Sequence

from fclip.selection.candidates import Candidate

LEAST_GAIN = -1.0
Rule = Callable[[Sequence[Candidate], Candidate], list[float]]


def gains(candidates: Sequence[Candidate], start: Candidate) -> list[dict[str, float]]:
    """Each candidate's normalised gain on each outside dataset: (score − start) / max(ε, best − start), at least −1.

    ε is the start's bootstrap standard error there, so that noise is not blown up to a gain of 1. What is lost counts
    as much as what could be won, and no more, or one ruined dataset would decide alone.
    """
    finite = [candidate for candidate in candidates if candidate.num_nonfinite == 0]
    best = {dataset: max(c.outside[dataset].value for c in finite) for dataset in start.outside}
    return [
        {
            dataset: max(
                LEAST_GAIN,
                (candidate.outside[dataset].value - score.value)
                / max(score.standard_error, best[dataset] - score.value, 1e-12),
            )
            for dataset, score in start.outside.items()
        }
        for candidate in candidates
    ]


def mean_normalised_gain(candidates: Sequence[Candidate], start: Candidate) -> list[float]:
    """The mean over the outside datasets; without any, the in-domain metric."""
    if not start.outside:
        return in_domain_metric(candidates, start)
    return [sum(gain.values()) / len(gain) for gain in gains(candidates, start)]


def worst_gain(candidates: Sequence[Candidate], start: Candidate) -> list[float]:
    """The least normalised gain of the outside datasets; without any, the in-domain metric."""
    if not start.outside:
        return in_domain_metric(candidates, start)
    return [min(gain.values()) for gain in gains(candidates, start)]


def mean_score(candidates: Sequence[Candidate], start: Candidate) -> list[float]:
    """The mean of the outside datasets' primary metrics, whatever their scales; without any, the in-domain metric."""
    if not start.outside:
        return in_domain_metric(candidates, start)
    return [sum(score.value for score in candidate.outside.values()) / len(start.outside) for candidate in candidates]


def mean_rank(candidates: Sequence[Candidate], start: Candidate) -> list[float]:
    """Minus the mean rank over the outside datasets, equal scores sharing theirs; without any, the in-domain metric."""
    if not start.outside:
        return in_domain_metric(candidates, start)
    values = {dataset: [candidate.outside[dataset].value for candidate in candidates] for dataset in start.outside}
    return [
        -sum(_rank(own, candidate.outside[dataset].value) for dataset, own in values.items()) / len(values)
        for candidate in candidates
    ]


def _rank(values: Sequence[float], value: float) -> float:
    return 1 + sum(other > value for other in values) + (sum(other == value for other in values) - 1) / 2


def in_domain_metric(candidates: Sequence[Candidate], start: Candidate) -> list[float]:
    """The primary metric on in-domain validation."""
    return [candidate.in_domain_score for candidate in candidates]


def in_domain_loss(candidates: Sequence[Candidate], start: Candidate) -> list[float]:
    """Minus the validation loss: what pipelines commonly choose by, and what the FashionCLIP card warns of."""
    return [float("-inf") if candidate.val_loss is None else -candidate.val_loss for candidate in candidates]


def last(candidates: Sequence[Candidate], start: Candidate) -> list[float]:
    """The end of training."""
    return [float(candidate.step) for candidate in candidates]


RULES: dict[str, Rule] = {
    "mean_normalised_gain": mean_normalised_gain,
    "worst_gain": worst_gain,
    "mean_score": mean_score,
    "mean_rank": mean_rank,
    "in_domain_loss": in_domain_loss,
    "in_domain_metric": in_domain_metric,
    "last": last,
}

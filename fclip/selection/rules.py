"""The rules: each gives every candidate a score, and the highest wins. The start is a candidate like any other."""

from collections.abc import Callable, Sequence

from fclip.selection.candidates import Candidate

Rule = Callable[[Sequence[Candidate], Candidate], list[float]]


def gains(candidates: Sequence[Candidate], start: Candidate) -> list[dict[str, float]]:
    """Each candidate's normalised gain on each outside dataset: (score − start) / max(ε, best − start).

    ε is the start's bootstrap standard error there, so that noise is not blown up to a gain of 1.
    """
    finite = [candidate for candidate in candidates if candidate.num_nonfinite == 0]
    best = {dataset: max(c.outside[dataset].value for c in finite) for dataset in start.outside}
    return [
        {
            dataset: (candidate.outside[dataset].value - score.value)
            / max(score.standard_error, best[dataset] - score.value, 1e-12)
            for dataset, score in start.outside.items()
        }
        for candidate in candidates
    ]


def mean_normalised_gain(candidates: Sequence[Candidate], start: Candidate) -> list[float]:
    """The mean over the outside datasets; without any, the in-domain metric."""
    if not start.outside:
        return in_domain_metric(candidates, start)
    return [sum(gain.values()) / len(gain) for gain in gains(candidates, start)]


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
    "in_domain_loss": in_domain_loss,
    "in_domain_metric": in_domain_metric,
    "last": last,
}

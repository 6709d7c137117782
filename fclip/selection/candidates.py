"""What a selection rule reads: candidates with their scores on `select` data."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fclip.models.candidates import Candidate

Floats = NDArray[np.float64]
NO_DRAWS: Floats = np.empty(0)


@dataclass(frozen=True)
class Score:
    """A candidate's primary metric on one dataset's select split.

    Attributes:
        standard_error: of the bootstrap over items.
        num_items: number of items; 0 if unknown.
        draws: float64 [b], the metric in each resample, the same resamples for every candidate; empty if they were
            not kept.
    """

    value: float
    standard_error: float
    num_items: int
    draws: Floats = field(default_factory=lambda: NO_DRAWS, compare=False, repr=False)


@dataclass(frozen=True)
class ScoredCandidate:
    """A candidate with its scores.

    Attributes:
        in_domain: scores on datasets that train, by dataset. out_of_domain: on datasets that do not.
        label_free: metrics that need no labels, on out-of-domain datasets: dataset -> metric -> value.
        num_nonfinite: number of features that are not finite; such a candidate is never selected.
    """

    candidate: Candidate
    in_domain: Mapping[str, Score]
    out_of_domain: Mapping[str, Score]
    label_free: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    num_nonfinite: int = 0

    @property
    def name(self) -> str:
        """The candidate's name."""
        return self.candidate.name

    @property
    def in_domain_score(self) -> float:
        """The mean over the in-domain datasets; 0 without any."""
        return sum(score.value for score in self.in_domain.values()) / len(self.in_domain) if self.in_domain else 0.0


@dataclass(frozen=True)
class Pool:
    """The scores of n candidates as rules read them, the base model's first; resamples, if any, are leading axes.

    Attributes:
        out_of_domain: float64 [..., n, d], on d out-of-domain datasets. in_domain: [..., n], the mean in domain.
        noise: [d], the base model's bootstrap standard error on each out-of-domain dataset. in_domain_noise: that of
            its `in_domain`.
        finite: bool [n]. steps (−inf for averages), val_loss (inf if unknown): [n].
        label_free: metric -> [n, datasets that have it].
    """

    out_of_domain: Floats
    in_domain: Floats
    noise: Floats
    in_domain_noise: float
    finite: NDArray[np.bool_]
    steps: Floats
    val_loss: Floats
    label_free: Mapping[str, Floats]

    @classmethod
    def of(cls, candidates: Sequence[ScoredCandidate]) -> "Pool":
        """The scores themselves."""
        return cls._of(candidates, lambda score: score.value, ())

    @classmethod
    def resampled(cls, candidates: Sequence[ScoredCandidate]) -> "Pool | None":
        """The scores of every resample, as one leading axis; None unless every score has the same number of them."""
        scores = [score for each in candidates for score in (*each.in_domain.values(), *each.out_of_domain.values())]
        numbers = {len(score.draws) for score in scores} or {0}
        if numbers == {0} or len(numbers) > 1:
            return None
        return cls._of(candidates, lambda score: score.draws, (numbers.pop(),))

    def with_in_domain(self) -> "Pool":
        """The same pool with the in-domain mean as one more out-of-domain dataset."""
        return replace(
            self,
            out_of_domain=np.concatenate([self.out_of_domain, self.in_domain[..., None]], axis=-1),
            noise=np.append(self.noise, self.in_domain_noise),
        )

    @classmethod
    def _of(cls, candidates: Sequence[ScoredCandidate], read: Any, leading: tuple[int, ...]) -> "Pool":
        base = candidates[0]

        def table(domain: str, names: Sequence[str]) -> Floats:
            rows = [[read(getattr(each, domain)[name]) for name in names] for each in candidates]
            found = np.asarray(rows, np.float64).reshape(len(candidates), len(names), *leading)
            return np.moveaxis(found, (0, 1), (-2, -1))

        in_domain = table("in_domain", list(base.in_domain))
        errors = [score.standard_error for score in base.in_domain.values()]
        measured = {metric for values in base.label_free.values() for metric in values}
        records = [each.candidate for each in candidates]
        return cls(
            out_of_domain=table("out_of_domain", list(base.out_of_domain)),
            in_domain=in_domain.mean(axis=-1) if base.in_domain else np.zeros((*leading, len(candidates))),
            noise=np.array([score.standard_error for score in base.out_of_domain.values()]),
            in_domain_noise=math.hypot(*errors) / max(1, len(errors)),
            finite=np.array([each.num_nonfinite == 0 for each in candidates]),
            steps=np.array([-np.inf if each.is_average else each.step for each in records]),
            val_loss=np.array([np.inf if each.val_loss is None else each.val_loss for each in records]),
            label_free={
                metric: np.array(
                    [[values[metric] for values in each.label_free.values() if metric in values] for each in candidates]
                )
                for metric in sorted(measured)
            },
        )

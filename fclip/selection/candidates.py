"""The input of selection rules: candidates with their scores on the selection data (role `select`)."""

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
    """A candidate's primary metric on the selection data of one dataset.

    Attributes:
        standard_error: from the bootstrap over items.
        num_items: number of items; 0 if unknown.
        draws: float64 [b], the metric in each bootstrap resample. All candidates share the resamples. Empty if the
            values were not stored.
    """

    value: float
    standard_error: float
    num_items: int
    draws: Floats = field(default_factory=lambda: NO_DRAWS, compare=False, repr=False)


@dataclass(frozen=True)
class ScoredCandidate:
    """A candidate with its scores.

    Attributes:
        in_domain: scores on training datasets, by dataset name. out_of_domain: scores on the other datasets.
        more_held: scores of further metrics that selection holds in domain, by `<dataset>.<metric>`.
        label_free: label-free metrics on out-of-domain datasets: dataset -> metric -> value.
        num_nonfinite: number of features that are not finite. A candidate with any is never selected.
    """

    candidate: Candidate
    in_domain: Mapping[str, Score]
    out_of_domain: Mapping[str, Score]
    label_free: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    num_nonfinite: int = 0
    more_held: Mapping[str, Score] = field(default_factory=dict)

    @property
    def held(self) -> Mapping[str, Score]:
        """The scores of all metrics that selection holds in domain: the primary metrics, and `more_held`."""
        return {**self.in_domain, **self.more_held}

    @property
    def name(self) -> str:
        """The candidate's name."""
        return self.candidate.name

    @property
    def in_domain_score(self) -> float:
        """Mean score over the in-domain datasets; 0 if there are none."""
        return sum(score.value for score in self.in_domain.values()) / len(self.in_domain) if self.in_domain else 0.0


@dataclass(frozen=True)
class Pool:
    """The scores of n candidates as arrays, the base model first. A leading axis, if any, is over resamples.

    Attributes:
        out_of_domain: float64 [..., n, d], scores on d out-of-domain datasets.
        in_domain: float64 [..., n], mean score over the in-domain datasets.
        noise: float64 [d], the base model's bootstrap standard error on each out-of-domain dataset.
        in_domain_noise: the base model's bootstrap standard error of `in_domain`.
        held: float64 [..., n, h], scores by h metrics that selection holds in domain.
        distances: float64 [n], distance of the weights from those of the base model; inf if unknown.
        finite: bool [n], whether all features are finite.
        steps: float64 [n]; −inf for weight averages. val_loss: float64 [n]; inf if unknown.
        label_free: metric -> float64 [n, number of datasets with this metric].
    """

    out_of_domain: Floats
    in_domain: Floats
    noise: Floats
    in_domain_noise: float
    held: Floats
    distances: Floats
    finite: NDArray[np.bool_]
    steps: Floats
    val_loss: Floats
    label_free: Mapping[str, Floats]

    @classmethod
    def from_candidates(cls, candidates: Sequence[ScoredCandidate]) -> "Pool":
        """Return the pool of the candidates' scores."""
        return cls._build(candidates, lambda score: score.value, ())

    @classmethod
    def resampled(cls, candidates: Sequence[ScoredCandidate]) -> "Pool | None":
        """Return the pool of the scores in every resample, with a leading axis over resamples.

        None if the scores have no resamples or different numbers of them.
        """
        scores = [score for each in candidates for score in (*each.held.values(), *each.out_of_domain.values())]
        counts = {len(score.draws) for score in scores} or {0}
        if counts == {0} or len(counts) > 1:
            return None
        return cls._build(candidates, lambda score: score.draws, (counts.pop(),))

    def with_in_domain(self) -> "Pool":
        """Return the pool with the in-domain mean as one more out-of-domain dataset."""
        return replace(
            self,
            out_of_domain=np.concatenate([self.out_of_domain, self.in_domain[..., None]], axis=-1),
            noise=np.append(self.noise, self.in_domain_noise),
        )

    @classmethod
    def _build(cls, candidates: Sequence[ScoredCandidate], read: Any, leading: tuple[int, ...]) -> "Pool":
        base = candidates[0]

        def table(domain: str, names: Sequence[str]) -> Floats:
            rows = [[read(getattr(each, domain)[name]) for name in names] for each in candidates]
            values = np.asarray(rows, np.float64).reshape(len(candidates), len(names), *leading)
            return np.moveaxis(values, (0, 1), (-2, -1))

        in_domain = table("in_domain", list(base.in_domain))
        errors = [score.standard_error for score in base.in_domain.values()]
        measured = {metric for values in base.label_free.values() for metric in values}
        records = [each.candidate for each in candidates]
        return cls(
            out_of_domain=table("out_of_domain", list(base.out_of_domain)),
            in_domain=in_domain.mean(axis=-1) if base.in_domain else np.zeros((*leading, len(candidates))),
            noise=np.array([score.standard_error for score in base.out_of_domain.values()]),
            in_domain_noise=math.hypot(*errors) / max(1, len(errors)),
            held=table("held", list(base.held)),
            distances=np.array([math.inf if each.distance is None else each.distance for each in records]),
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

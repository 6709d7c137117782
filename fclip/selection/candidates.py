"""What a selection rule is told of each candidate. All scores here are of `select` data."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NO_DRAWS: Floats = np.empty(0)


@dataclass(frozen=True)
class Score:
    """A candidate's primary metric on one dataset's select split.

    Attributes:
        standard_error: of the bootstrap over items.
        num_items: that it was scored on; 0 where nobody knows.
        draws: float64 [b], the metric in each resample, the same resamples for every candidate; empty where nobody
            kept them.
    """

    value: float
    standard_error: float
    num_items: int
    draws: Floats = field(default_factory=lambda: NO_DRAWS, compare=False, repr=False)


@dataclass(frozen=True)
class Candidate:
    """A model that may be selected; the first at step 0 is the start, a second one what a warm start came from.

    Attributes:
        in_domain: scores on datasets that train, by dataset. outside: on datasets that do not.
        label_free: on outside datasets, what was measured there without labels: dataset -> metric -> value.
        val_loss: the contrastive loss in domain, None where it is not finite, or where nobody computed it.
        num_nonfinite: features that were not finite: such a candidate is never selected.
        distance: from the start, of the weights, relative to the start's length; inf where nobody knows.
        is_average: whether its weights are averages of other candidates', rather than left by training.
    """

    name: str
    step: int
    model_sha256: str
    in_domain: Mapping[str, Score]
    outside: Mapping[str, Score]
    label_free: Mapping[str, Mapping[str, float]]
    val_loss: float | None
    num_nonfinite: int
    distance: float
    is_average: bool

    @property
    def in_domain_score(self) -> float:
        """The mean over the in-domain datasets."""
        return sum(score.value for score in self.in_domain.values()) / len(self.in_domain) if self.in_domain else 0.0


@dataclass(frozen=True)
class Pool:
    """Candidates as rules read them, n of them, the start first; resamples, if any, are leading axes.

    Attributes:
        outside: float64 [..., n, d], on d outside datasets. in_domain: [..., n], the mean over those in domain.
        noise: [d], the start's bootstrap standard error on each outside dataset. in_domain_noise: of `in_domain`.
        finite: bool [n]. steps (−inf of averages), val_loss (inf where unknown): [n].
        label_free: metric -> [n, datasets that have it].
    """

    outside: Floats
    in_domain: Floats
    noise: Floats
    in_domain_noise: float
    finite: NDArray[np.bool_]
    steps: Floats
    val_loss: Floats
    label_free: Mapping[str, Floats]

    @classmethod
    def of(cls, candidates: Sequence[Candidate]) -> "Pool":
        """The scores themselves."""
        return cls._of(candidates, lambda score: score.value, ())

    @classmethod
    def drawn(cls, candidates: Sequence[Candidate]) -> "Pool | None":
        """The scores of every resample, as one leading axis; None where not every score has as many."""
        scores = [score for each in candidates for score in (*each.in_domain.values(), *each.outside.values())]
        numbers = {len(score.draws) for score in scores} or {0}
        if numbers == {0} or len(numbers) > 1:
            return None
        return cls._of(candidates, lambda score: score.draws, (numbers.pop(),))

    def everywhere(self) -> "Pool":
        """The same with what is in domain as one more outside dataset."""
        return replace(
            self,
            outside=np.concatenate([self.outside, self.in_domain[..., None]], axis=-1),
            noise=np.append(self.noise, self.in_domain_noise),
        )

    @classmethod
    def _of(cls, candidates: Sequence[Candidate], read: Any, leading: tuple[int, ...]) -> "Pool":
        start = candidates[0]

        def table(of: str, names: Sequence[str]) -> Floats:
            rows = [[read(getattr(each, of)[name]) for name in names] for each in candidates]
            found = np.asarray(rows, np.float64).reshape(len(candidates), len(names), *leading)
            return np.moveaxis(found, (0, 1), (-2, -1))

        in_domain = table("in_domain", list(start.in_domain))
        errors = [score.standard_error for score in start.in_domain.values()]
        measured = {metric for values in start.label_free.values() for metric in values}
        return cls(
            outside=table("outside", list(start.outside)),
            in_domain=in_domain.mean(axis=-1) if start.in_domain else np.zeros((*leading, len(candidates))),
            noise=np.array([score.standard_error for score in start.outside.values()]),
            in_domain_noise=math.hypot(*errors) / max(1, len(errors)),
            finite=np.array([each.num_nonfinite == 0 for each in candidates]),
            steps=np.array([-np.inf if each.is_average else each.step for each in candidates]),
            val_loss=np.array([np.inf if each.val_loss is None else each.val_loss for each in candidates]),
            label_free={
                metric: np.array(
                    [[values[metric] for values in each.label_free.values() if metric in values] for each in candidates]
                )
                for metric in sorted(measured)
            },
        )

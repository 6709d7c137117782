"""What a selection rule is told of each candidate. All scores here are of `select` data."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """A candidate's primary metric on one dataset's select split, with its bootstrap standard error."""

    value: float
    standard_error: float


@dataclass(frozen=True)
class Candidate:
    """A model that may be selected; the first at step 0 is the start, a second one what a warm start came from.

    in_domain: scores on datasets that train, by dataset. outside: on datasets that do not.
    val_loss: the contrastive loss in domain, None where it is not finite.
    num_nonfinite: features that were not finite: such a candidate is never selected.
    """

    name: str
    step: int
    model_sha256: str
    in_domain: Mapping[str, Score]
    outside: Mapping[str, Score]
    val_loss: float | None
    num_nonfinite: int

    @property
    def in_domain_score(self) -> float:
        """The mean over the in-domain datasets."""
        return sum(score.value for score in self.in_domain.values()) / len(self.in_domain) if self.in_domain else 0.0

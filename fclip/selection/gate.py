"""The gate: may a challenger take the champion's place?"""

from collections.abc import Sequence
from dataclasses import dataclass

from fclip.config import config


@config
class PromoteConfig:
    """The section `promote`: when a challenger becomes the champion."""

    confidence: float = 0.95
    """Confidence level, between 0 and 1, of the paired bootstrap interval; a difference is significant if the interval
    does not contain 0."""

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence must be between 0 and 1, not {self.confidence}")


@dataclass(frozen=True)
class GateComparison:
    """Challenger minus champion on the primary metric of one `select` split, both scored in the same run.

    low and high bound the paired bootstrap interval of the difference; num_items is how many items both were
    scored on. in_domain: the dataset is one that the model trains on.
    """

    dataset: str
    split: str
    metric: str
    in_domain: bool
    champion: float
    challenger: float
    difference: float
    low: float
    high: float
    num_items: int

    @property
    def worse(self) -> bool:
        """Significantly: the whole interval lies below 0."""
        return self.high < 0

    @property
    def better(self) -> bool:
        """Significantly: the whole interval lies above 0."""
        return self.low > 0


@dataclass(frozen=True)
class Decision:
    """Whether the champion changes, and why in one sentence."""

    promote: bool
    reason: str


def decide(comparisons: Sequence[GateComparison]) -> Decision:
    """Promote when no dataset is significantly worse and at least one is significantly better.

    In-domain validation and outside datasets count alike. Raises ValueError when there is nothing to judge by.
    """
    if not comparisons:
        raise ValueError(
            "no dataset has the role select, so a challenger cannot be judged: give one in ingest.datasets"
        )
    worse = [entry for entry in comparisons if entry.worse]
    better = [entry for entry in comparisons if entry.better]
    if worse:
        return Decision(promote=False, reason=f"significantly worse on {_named(worse)}")
    if not better:
        return Decision(promote=False, reason=f"significantly better on none of {_named(comparisons)}")
    same = len(comparisons) - len(better)
    rest = f", and significantly worse on none of the other {same}" if same else ""
    return Decision(promote=True, reason=f"significantly better on {_named(better)}{rest}")


def _named(comparisons: Sequence[GateComparison]) -> str:
    return ", ".join(
        f"{entry.dataset} {entry.split} ({entry.metric} {entry.difference:+.3f}, "
        f"interval {entry.low:+.3f} to {entry.high:+.3f})"
        for entry in comparisons
    )

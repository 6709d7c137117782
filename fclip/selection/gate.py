"""The gate, which decides whether a challenger replaces the champion."""

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
    """Champion and challenger on one held metric of one `select` split, both scored in the same run.

    Attributes:
        in_domain: whether the model trains on the dataset.
        difference: challenger minus champion. low, high: bounds of its paired bootstrap interval.
        num_items: number of items that both models were scored on.
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
        """Whether the challenger is significantly worse: the whole interval is below 0."""
        return self.high < 0

    @property
    def better(self) -> bool:
        """Whether the challenger is significantly better: the whole interval is above 0."""
        return self.low > 0


@dataclass(frozen=True)
class Verdict:
    """Whether to promote the challenger, and the reason in one sentence."""

    promote: bool
    reason: str


def decide(comparisons: Sequence[GateComparison]) -> Verdict:
    """Promote if the challenger is significantly worse on no dataset and significantly better on at least one.

    In-domain and out-of-domain datasets count equally.

    Raises:
        ValueError: there are no comparisons.
    """
    if not comparisons:
        raise ValueError(
            "no dataset has the role select, so champion and challenger cannot be compared; assign the role in "
            "ingest.datasets"
        )
    worse = [entry for entry in comparisons if entry.worse]
    better = [entry for entry in comparisons if entry.better]
    if worse:
        return Verdict(promote=False, reason=f"significantly worse on {_named(worse)}")
    if not better:
        return Verdict(promote=False, reason=f"not significantly better on any dataset: {_named(comparisons)}")
    num_others = len(comparisons) - len(better)
    rest = f", and not significantly worse on the other {num_others}" if num_others else ""
    return Verdict(promote=True, reason=f"significantly better on {_named(better)}{rest}")


def _named(comparisons: Sequence[GateComparison]) -> str:
    return ", ".join(
        f"{entry.dataset} {entry.split} ({entry.metric} {entry.difference:+.3f}, "
        f"interval {entry.low:+.3f} to {entry.high:+.3f})"
        for entry in comparisons
    )

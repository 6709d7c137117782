"""The configuration of selection: the section `select` of params.yaml."""

from fclip.config import config
from fclip.selection.rules.registry import rules


@config
class SelectConfig:
    """The section `select`: how one candidate is selected."""

    rule: str = "mean_normalised_gain"
    """The selection rule: mean_normalised_gain, mean_score, mean_rank, in_domain_loss, in_domain_metric or last; margin
    or alignment if a label-free protocol was evaluated. It chooses among candidates within `in_domain_tolerance`."""
    in_domain_tolerance: float = 0.03
    """Candidates whose in-domain score is lower than the best one by more than this are not selected. It should be at
    least the noise of that score; 0.01 is usual with thousands of products."""
    tie_confidence: float | None = 0.8
    """Confidence, from 0.5 to below 1, of the paired bootstrap: of candidates that the best does not beat with it, the
    one nearest to the base model is selected. null: the best candidate is selected."""

    def __post_init__(self) -> None:
        if self.rule not in rules():
            raise ValueError(f"rule must be one of {', '.join(rules())}, not `{self.rule}`")
        if self.in_domain_tolerance < 0:
            raise ValueError("in_domain_tolerance must be at least 0")
        if self.tie_confidence is not None and not 0.5 <= self.tie_confidence < 1:
            raise ValueError("tie_confidence must be from 0.5 to below 1, or null")

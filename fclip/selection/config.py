"""How one candidate is selected: the section `select` of params.yaml."""

from fclip.config import config
from fclip.selection.rules.registry import rules


@config
class SelectConfig:
    """How one candidate is selected.

    Attributes:
        rule: the kind of a rule in `fclip.selection.rules`. It chooses among the candidates whose in-domain score is
            within `in_domain_tolerance` of the best one's.
        tie_confidence: candidates that the best by the rule does not beat with this confidence, by the paired
            bootstrap, count as tied with it, and the one nearest the base model wins; null: the best by the rule wins.
    """

    rule: str
    in_domain_tolerance: float
    tie_confidence: float | None

    def __post_init__(self) -> None:
        if self.rule not in rules():
            raise ValueError(f"rule must be one of {', '.join(rules())}, not `{self.rule}`")
        if self.in_domain_tolerance < 0:
            raise ValueError("in_domain_tolerance must be at least 0")
        if self.tie_confidence is not None and not 0.5 <= self.tie_confidence < 1:
            raise ValueError("tie_confidence must be from 0.5 to below 1, or null")

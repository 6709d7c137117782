"""The configuration of selection: the section `select` of params.yaml."""

from fclip.config import config
from fclip.selection.preferences import PICKS, Preference
from fclip.selection.rules.registry import rules


@config
class SelectConfig:
    """The section `select`: how one candidate is selected."""

    rule: str = "nearest_to_base"
    """The selection rule, which chooses among the candidates within `in_domain_tolerance`. nearest_to_base reads no
    other dataset. mean_normalised_gain, mean_score and mean_rank read out-of-domain datasets with the role select.
    margin and alignment read a label-free protocol on them. in_domain_loss, in_domain_metric and last are common
    practice, for comparison."""
    prefer: Preference = "balanced"
    """What the choice prefers. balanced: the tolerance below. catalog: no tolerance, so only candidates that are as
    good in domain as the best one, up to chance. elsewhere: three times the tolerance, for other kinds of pictures and
    texts. `fclip select` shows all three, and changes this setting."""
    in_domain_tolerance: float = 0.01
    """How far a candidate may be below the best one by each metric held in domain. 0.01: one point. The report shows
    what 0 to 0.03 buy and cost. One standard error of the difference is always accepted, so that chance does not
    choose."""
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

    def tolerance_of(self, preference: Preference) -> float:
        """The in-domain tolerance that a preference applies."""
        return round(PICKS[preference].tolerances * self.in_domain_tolerance, 6)

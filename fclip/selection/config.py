"""How the winner is chosen: the section `select` of params.yaml."""

from fclip.config import config

RULES = (
    "mean_normalised_gain",
    "worst_gain",
    "mean_score",
    "mean_rank",
    "in_domain_loss",
    "in_domain_metric",
    "last",
    "margin",
    "alignment",
    "uniformity",
)


@config
class AverageConfig:
    """What is averaged of the candidates that training left: the section `average` of params.yaml.

    Attributes:
        interpolation: shares of the way from the start to a candidate (WiSE-FT: Wortsman et al. 2022); [] for none,
            where the start knows nothing.
        soup: whether the greedy soup of the candidates is one too, and what is between it and the start.
    """

    interpolation: list[float]
    soup: bool

    def __post_init__(self) -> None:
        if not all(0 < share < 1 for share in self.interpolation):
            raise ValueError("interpolation must be shares between 0 and 1")
        if len({round(share, 2) for share in self.interpolation}) < len(self.interpolation):
            raise ValueError("interpolation must be of shares that differ in their first two decimals")


@config
class SelectConfig:
    """How one candidate is chosen.

    Attributes:
        rule: chooses among the candidates whose in-domain score is within `in_domain_tolerance` of the best one's.
        tie_confidence: those that the best by the rule does not beat with this confidence, by the paired bootstrap, are
            as good, and the one nearest the start wins; null: the best by the rule does.
    """

    rule: str
    in_domain_tolerance: float
    tie_confidence: float | None

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"rule must be one of {', '.join(RULES)}, not `{self.rule}`")
        if self.in_domain_tolerance < 0:
            raise ValueError("in_domain_tolerance must be at least 0")
        if self.tie_confidence is not None and not 0.5 <= self.tie_confidence < 1:
            raise ValueError("tie_confidence must be from 0.5 to below 1, or null")

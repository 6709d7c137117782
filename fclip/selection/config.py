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
)


@config
class SelectConfig:
    """`rule` chooses among the candidates whose in-domain score is within `in_domain_tolerance` of the best one's."""

    rule: str
    in_domain_tolerance: float

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"rule must be one of {', '.join(RULES)}, not `{self.rule}`")
        if self.in_domain_tolerance < 0:
            raise ValueError("in_domain_tolerance must be at least 0")

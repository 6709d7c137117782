"""Interpolation between the base model and a candidate (WiSE-FT: Wortsman et al. 2022)."""

from collections.abc import Sequence
from typing import Literal

from fclip.averaging.registry import AveragingContext, AveragingMethod, Recipe
from fclip.config import config
from fclip.models.candidates import Candidate


@config
class InterpolationConfig:
    """Interpolation between the base model and each checkpoint or average (WiSE-FT). Not useful with an untrained base
    model."""

    kind: Literal["interpolation"]
    shares: tuple[float, ...] = (0.75,)
    """Shares of the candidate, each between 0 and 1; the rest is the share of the base model."""

    def __post_init__(self) -> None:
        if not self.shares or not all(0 < share < 1 for share in self.shares):
            raise ValueError("shares must be at least one number, each between 0 and 1")
        if len({round(share, 2) for share in self.shares}) < len(self.shares):
            raise ValueError("shares must differ in their first two decimals")


def recipes(settings: InterpolationConfig, candidates: Sequence[Candidate], _: AveragingContext) -> tuple[Recipe, ...]:
    """Return a recipe per share for every checkpoint, and for every average that does not contain the base model."""
    base = next(candidate for candidate in candidates if candidate.kind == "base")
    others = [each for each in candidates if each.kind == "checkpoint" or each.is_average]
    return tuple(
        Recipe(f"{other.name}-at-{share:.2f}", "interpolated", {base.name: 1 - share, other.name: share})
        for other in others
        if base.name not in other.ancestors
        for share in settings.shares
    )


INTERPOLATION = AveragingMethod(
    kind="interpolation",
    label="interpolation with the base model",
    description="Weights between those of the base model and those of a checkpoint or an average",
    config=InterpolationConfig,
    recipes=recipes,
)

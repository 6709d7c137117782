"""A search for averages with the base model whose text tower has moved less than their image tower.

A catalog has few texts for the size of a text tower, so this tower forgets more for what it learns. Half-way back to
the base model it is often better even in domain. So the text tower goes first: as far back as each tolerance allows,
with the image tower as it is. Then the image tower goes back as far as this allows.
"""

from collections.abc import Sequence
from functools import cache
from typing import Literal

from fclip.averaging.line_search import NUM_STEPS, STEP, line_ends, smallest_count
from fclip.averaging.registry import AveragingContext, AveragingMethod, InDomainScores, Recipe, TowerShares
from fclip.config import config
from fclip.models.candidates import IN_DOMAIN_TOLERANCES, Candidate

TEXT_COUNTS = range(4, NUM_STEPS + 1, 2)
"""Steps of the text tower from the base model that are scored. A scan, since in-domain scores rise and then fall along
it. It is cheap: the images are encoded once."""


@config
class TowerSearchConfig:
    """Averages with the base model that are just within an in-domain tolerance, with a share for each tower. Not useful
    with an untrained base model. It has no options."""

    kind: Literal["tower-search"]


def recipes(_: TowerSearchConfig, candidates: Sequence[Candidate], context: AveragingContext) -> tuple[Recipe, ...]:
    """Return the averages nearest to the base model that lose at most each of `IN_DOMAIN_TOLERANCES`, for each end.

    The ends are those of the line search. A loss is measured from the best checkpoint, end or scanned average, by each
    held metric. Empty if no training dataset has select data.
    """
    base = next(candidate for candidate in candidates if candidate.kind == "base").name
    compared = {
        *(each.name for each in candidates if each.kind == "checkpoint"),
        *(each.name for each in candidates if each.is_average),
    }
    ends = line_ends(candidates)
    if not ends:
        return ()
    scanned = [_shares(base, end, NUM_STEPS, count) for end in ends for count in TEXT_COUNTS]
    measured = [found for found in context([*({name: 1.0} for name in sorted(compared)), *scanned]) if found]
    if not measured:
        return ()
    best = {metric: max(found[metric] for found in measured) for metric in measured[0]}
    found: dict[str, Recipe] = {}
    for end in ends:
        for tolerance in IN_DOMAIN_TOLERANCES:
            for images, texts in _corners(base, end, best, context, tolerance):
                if texts < NUM_STEPS:  # else it is on the line
                    name = f"{end}-at-{images * STEP:.2f}-texts-{texts * STEP:.2f}"
                    found[name] = Recipe(name, "interpolated", _shares(base, end, images, texts))
    return tuple(found.values())


def _corners(
    base: str, end: str, best: InDomainScores, context: AveragingContext, tolerance: float
) -> list[tuple[int, int]]:
    """The steps of both towers after the text tower went back, and after the image tower went back too."""

    @cache
    def loss(images: int, texts: int) -> float:
        scores = context([_shares(base, end, images, texts)])[0]
        return max(best[metric] - scores[metric] for metric in best) if scores else float("inf")

    texts = next((count for count in TEXT_COUNTS if loss(NUM_STEPS, count) <= tolerance), None)
    if texts is None:
        return []
    images = smallest_count(lambda count: loss(count, texts), tolerance)
    return sorted({(NUM_STEPS, texts), (images, texts)})


def _shares(base: str, end: str, images: int, texts: int) -> TowerShares:
    """The shares of an average whose towers are so many steps from the base model."""

    def tower(count: int) -> dict[str, float]:
        share = round(count * STEP, 2)
        return {base: round(1 - share, 2), end: share} if count < NUM_STEPS else {end: 1.0}

    return TowerShares(tower(images), tower(texts))


TOWER_SEARCH = AveragingMethod(
    kind="tower-search",
    label="search for the shares of both towers",
    description="The averages with the base model that are just within a tolerance, with a share for each tower",
    config=TowerSearchConfig,
    recipes=recipes,
)

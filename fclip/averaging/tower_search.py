"""A search for averages with the base model whose text tower has moved less than their image tower.

A catalog has few texts for the size of a text tower, so this tower forgets more for what it learns. Half-way back to
the base model it is often better even in domain. So the text tower goes first: as far back as each tolerance allows,
with the image tower as it is. Then the image tower goes back as far as this allows.
"""

from collections.abc import Sequence
from functools import cache
from typing import Literal

from fclip.averaging.line_search import (
    NUM_STEPS,
    STEP,
    best_scores,
    largest_loss,
    line_ends,
    shares_after,
    smallest_count,
)
from fclip.averaging.registry import AveragingContext, AveragingMethod, InDomainScores, Recipe, Shares, TowerShares
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

    The ends are those of the line search. A loss is measured from the best candidate or scanned average, by each held
    metric. If the metrics disagree so much that no average is within a tolerance, the one that loses least is returned.
    Empty if no training dataset has select data.
    """
    base = next(candidate for candidate in candidates if candidate.kind == "base").name
    ends = line_ends(candidates)
    if not ends:
        return ()
    compared: list[Shares] = [{each.name: 1.0} for each in candidates if each.kind != "base"]
    scanned = [_shares(base, end, NUM_STEPS, count) for end in ends for count in TEXT_COUNTS]
    measured = [found for found in context([*compared, *scanned]) if found]
    if not measured:
        return ()
    best = best_scores(measured)
    known = {candidate.name for candidate in candidates}  # another method may have made the same average
    found: dict[str, Recipe] = {}
    for end in ends:
        search = _Search(base, end, best, context)
        for images, texts in sorted({corner for each in IN_DOMAIN_TOLERANCES for corner in search.corners(each)}):
            name = f"{end}-at-{images * STEP:.2f}" + (f"-texts-{texts * STEP:.2f}" if texts < NUM_STEPS else "")
            if (images, texts) != (NUM_STEPS, NUM_STEPS) and name not in known:
                found[name] = Recipe(name, "interpolated", _shares(base, end, images, texts))
    return tuple(found.values())


class _Search:
    """The search on the way to one end. Both towers are counted in steps from the base model."""

    def __init__(self, base: str, end: str, best: InDomainScores, context: AveragingContext) -> None:
        self._base, self._end, self._best, self._context = base, end, best, context
        self._loss = cache(self._loss_of)  # searches for near tolerances share their path

    def corners(self, tolerance: float) -> set[tuple[int, int]]:
        """The steps of both towers after the text tower went back, and after the image tower went back too."""
        losses = {count: self._loss(NUM_STEPS, count) for count in TEXT_COUNTS}
        if len(set(losses.values())) == 1:  # training left the text tower as it was: only the image tower can go back
            texts = NUM_STEPS
        else:
            nearest = next((count for count, loss in losses.items() if loss <= tolerance), None)
            texts = min(losses, key=lambda count: losses[count]) if nearest is None else nearest
        images = smallest_count(lambda count: self._loss(count, texts), max(tolerance, losses[texts]))
        return {(NUM_STEPS, texts), (images, texts)}

    def _loss_of(self, images: int, texts: int) -> float:
        """The largest loss over the held metrics."""
        return largest_loss(self._best, self._context([_shares(self._base, self._end, images, texts)])[0])


def _shares(base: str, end: str, images: int, texts: int) -> Shares:
    """The shares of an average whose towers are so many steps from the base model."""
    own = shares_after(base, end, images)
    return TowerShares(own, shares_after(base, end, texts)) if texts < NUM_STEPS else own


TOWER_SEARCH = AveragingMethod(
    kind="tower-search",
    label="search for the shares of both towers",
    description="The averages with the base model that are just within a tolerance, with a share for each tower",
    config=TowerSearchConfig,
    recipes=recipes,
)

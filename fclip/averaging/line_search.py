"""A search along the line from a candidate to the base model, for the averages that keep the in-domain scores.

Averages with the base model generalise better than its end (WiSE-FT: Wortsman et al. 2022). In-domain scores stay level
along the line and then fall. Where they fall depends on the run, and a fixed grid of shares misses it, so the search
bisects for it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Literal

from fclip.averaging.registry import AveragingContext, AveragingMethod, InDomainScores, Recipe
from fclip.config import config
from fclip.models.candidates import IN_DOMAIN_TOLERANCES, Candidate

STEP = 0.05
"""Shares are multiples of this. In-domain scores differ little between neighbours."""
NUM_STEPS = round(1 / STEP)


@config
class LineSearchConfig:
    """Averages with the base model that are just within an in-domain tolerance. Not useful with an untrained base
    model. It has no options."""

    kind: Literal["line-search"]


def recipes(_: LineSearchConfig, candidates: Sequence[Candidate], context: AveragingContext) -> tuple[Recipe, ...]:
    """Return the averages nearest to the base model that lose at most each of `IN_DOMAIN_TOLERANCES`, for each line.

    The lines end at the averages of earlier methods, such as the soup, or else at the last checkpoint. A line takes
    about six evaluations.

    A loss is measured from the best candidate, by each held metric. Empty if no training dataset has select data.
    """
    base = next(candidate for candidate in candidates if candidate.kind == "base")
    compared = [each.name for each in candidates if each is not base]
    ends = line_ends(candidates)
    measured = [found for found in context([{name: 1.0} for name in compared]) if found] if compared else []
    if not measured:
        return ()
    known = {candidate.name for candidate in candidates}  # an interpolation may have made the same average
    best = best_scores(measured)
    found = []
    for end in ends:
        loss = cache(partial(_loss, base.name, end, best, context))  # bisections for near tolerances share their path
        counts = sorted({smallest_count(loss, tolerance) for tolerance in IN_DOMAIN_TOLERANCES} - {NUM_STEPS})
        names = {f"{end}-at-{count * STEP:.2f}": count for count in counts}
        found += [
            Recipe(name, "interpolated", shares_after(base.name, end, count))
            for name, count in names.items()
            if name not in known
        ]
    return tuple(found)


def line_ends(candidates: Sequence[Candidate]) -> list[str]:
    """Return the averages that do not contain the base model, or else the last checkpoint; [] if there is none."""
    base = next(candidate for candidate in candidates if candidate.kind == "base")
    averages = [each.name for each in candidates if each.is_average and base.name not in each.ancestors]
    return averages or [each.name for each in candidates if each.kind == "checkpoint"][-1:]


def smallest_count(loss: Callable[[int], float], tolerance: float) -> int:
    """Return the smallest number of steps from the base model with a loss within the tolerance, by bisection.

    It is the smallest if losses fall along the line, as they do but for noise. `NUM_STEPS` if none is within.
    """
    below, within = 0, NUM_STEPS
    while within - below > 1:
        middle = (below + within) // 2
        if loss(middle) <= tolerance:
            within = middle
        else:
            below = middle
    return within


def shares_after(base: str, end: str, count: int) -> Mapping[str, float]:
    """Return the shares of the average after `count` steps from the base model; after `NUM_STEPS` it is the end."""
    share = round(count * STEP, 2)
    return {base: round(1 - share, 2), end: share} if count < NUM_STEPS else {end: 1.0}


def best_scores(measured: Sequence[InDomainScores]) -> InDomainScores:
    """Return the best score by each held metric; at least one must be measured."""
    return {metric: max(scores[metric] for scores in measured) for metric in measured[0]}


def largest_loss(best: InDomainScores, scores: InDomainScores | None) -> float:
    """Return the largest loss over the held metrics; inf for an average that has no scores."""
    return max(best[metric] - scores[metric] for metric in best) if scores else float("inf")


def _loss(base: str, end: str, best: InDomainScores, context: AveragingContext, count: int) -> float:
    """The largest loss over the held metrics after `count` steps from the base model."""
    return largest_loss(best, context([shares_after(base, end, count)])[0])


LINE_SEARCH = AveragingMethod(
    kind="line-search",
    label="search along the line to the base model",
    description="The averages with the base model that are just within an in-domain tolerance",
    config=LineSearchConfig,
    recipes=recipes,
)

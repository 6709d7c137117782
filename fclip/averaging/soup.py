"""The greedy soup: the mean of the checkpoints that raise its score (Wortsman et al. 2022, recipe 1)."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from fclip.averaging.registry import AveragingContext, AveragingMethod, InDomainScores, Recipe
from fclip.config import config
from fclip.models.candidates import Candidate

logger = logging.getLogger(__name__)
NAME = "soup"


@config
class SoupConfig:
    """The greedy soup: the mean of the checkpoints that raise the mean of the in-domain scores. It has no options."""

    kind: Literal["soup"]


def recipes(_: SoupConfig, candidates: Sequence[Candidate], context: AveragingContext) -> tuple[Recipe, ...]:
    """Return the soup of the checkpoints. Empty if none has an in-domain score or the soup is one checkpoint."""
    names = [candidate.name for candidate in candidates if candidate.kind == "checkpoint"]
    measured = zip(names, context([{name: 1.0} for name in names]), strict=True)
    scores = {name: _mean_score(found) for name, found in measured if found}
    if not scores:
        return ()
    chosen = greedy_soup(scores, lambda parents: _mean_score(context([_mean(parents)])[0]))
    if len(chosen) == 1:
        return ()
    logger.info("The greedy soup averages %s", ", ".join(chosen))
    return (Recipe(NAME, "soup", _mean(chosen)),)


def greedy_soup(scores: Mapping[str, float], score_of_mean: Callable[[Sequence[str]], float]) -> tuple[str, ...]:
    """Return the names of the candidates whose mean is the soup, best first.

    Candidates are tried in descending order of score. Each is added if the score of the mean does not decrease.

    Args:
        scores: in-domain score of each candidate; at least one.
        score_of_mean: returns the in-domain score of the mean of two or more candidates' weights.
    """
    first, *others = sorted(scores, key=lambda name: -scores[name])
    added, score = [first], scores[first]
    for name in others:
        new_score = score_of_mean([*added, name])
        if new_score >= score:
            added, score = [*added, name], new_score
    return tuple(added)


def _mean_score(scores: InDomainScores | None) -> float:
    return sum(scores.values()) / len(scores) if scores else float("-inf")


def _mean(names: Sequence[str]) -> dict[str, float]:
    return {name: 1 / len(names) for name in names}


SOUP = AveragingMethod(
    kind="soup",
    label="greedy soup",
    description="The mean of the checkpoints that raise the in-domain score, added in the order of their own scores",
    config=SoupConfig,
    recipes=recipes,
)

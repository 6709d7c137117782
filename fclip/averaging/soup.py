"""The greedy soup: the mean of the checkpoints that raise its score (Wortsman et al. 2022, recipe 1)."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from fclip.averaging.registry import Context, Method, Recipe
from fclip.config import config
from fclip.models.candidates import Candidate

logger = logging.getLogger(__name__)
NAME = "soup"


@config
class SoupConfig:
    """The greedy soup: the mean of the checkpoints that raise the in-domain score. It has no options."""

    kind: Literal["soup"]


def recipes(_: SoupConfig, candidates: Sequence[Candidate], context: Context) -> tuple[Recipe, ...]:
    """The soup of the checkpoints; nothing if none has an in-domain score, or if it is a checkpoint alone."""
    scores = context.scores([candidate.name for candidate in candidates if candidate.kind == "checkpoint"])
    if not scores:
        return ()
    chosen = greedy_soup(scores, lambda names: context.score_of_average(_mean(names)))
    if len(chosen) == 1:
        return ()
    logger.info("the soup is of %s", ", ".join(chosen))
    return (Recipe(NAME, "soup", _mean(chosen)),)


def greedy_soup(scores: Mapping[str, float], score_of_mean: Callable[[Sequence[str]], float]) -> tuple[str, ...]:
    """The candidates whose mean is the soup, the best first.

    In the order of their own scores each is added if the mean of those added and it scores no less than the mean of
    those added.

    Args:
        scores: of each candidate by itself, in domain; at least one.
        score_of_mean: the score, by the same measure, of the mean of at least two candidates' weights.
    """
    first, *others = sorted(scores, key=lambda name: -scores[name])
    added, score = [first], scores[first]
    for name in others:
        found = score_of_mean([*added, name])
        if found >= score:
            added, score = [*added, name], found
    return tuple(added)


def _mean(names: Sequence[str]) -> dict[str, float]:
    return {name: 1 / len(names) for name in names}


SOUP = Method(
    kind="soup",
    label="greedy soup",
    description="The mean of the checkpoints that raise the in-domain score, added in the order of their own scores",
    config=SoupConfig,
    recipes=recipes,
)

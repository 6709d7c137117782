"""The greedy soup: the mean of those candidates that raise it (Wortsman et al. 2022, recipe 1)."""

from collections.abc import Callable, Mapping, Sequence


def greedy_soup(scores: Mapping[str, float], score_of_mean: Callable[[Sequence[str]], float]) -> tuple[str, ...]:
    """The candidates whose mean is the soup, the best first.

    In the order of their own scores each is taken in where the mean of those taken and it scores no less than the mean
    of those taken.

    Args:
        scores: of each candidate by itself, in domain; it has one at least.
        score_of_mean: the score, by the same measure, of the mean of at least two candidates' weights.
    """
    first, *others = sorted(scores, key=lambda name: -scores[name])
    taken, score = [first], scores[first]
    for name in others:
        found = score_of_mean([*taken, name])
        if found >= score:
            taken, score = [*taken, name], found
    return tuple(taken)

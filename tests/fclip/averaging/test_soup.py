"""The greedy soup with artificial scores."""

from collections.abc import Sequence

from fclip.averaging.soup import greedy_soup


def test_candidates_that_do_not_lower_the_score_are_added_best_first() -> None:
    scored: list[tuple[str, ...]] = []
    means = {("b", "a"): 0.79, ("b", "c"): 0.81, ("b", "c", "d"): 0.81}

    def score_of_mean(names: Sequence[str]) -> float:
        scored.append(tuple(names))
        return means[tuple(names)]

    assert greedy_soup({"a": 0.7, "b": 0.8, "c": 0.6, "d": 0.5}, score_of_mean) == ("b", "c", "d")
    assert scored == [("b", "a"), ("b", "c"), ("b", "c", "d")]


def test_the_soup_is_the_best_candidate_if_every_mean_is_worse() -> None:
    assert greedy_soup({"a": 0.7, "b": 0.8}, lambda _: 0.1) == ("b",)
    assert greedy_soup({"a": 0.7}, lambda _: 1.0) == ("a",)

"""The greedy soup, on scores that are made up."""

from collections.abc import Sequence

from fclip.averaging.soup import greedy_soup


def test_it_takes_in_what_does_not_lower_it_best_first() -> None:
    asked: list[tuple[str, ...]] = []
    means = {("b", "a"): 0.79, ("b", "c"): 0.81, ("b", "c", "d"): 0.81}

    def score_of_mean(names: Sequence[str]) -> float:
        asked.append(tuple(names))
        return means[tuple(names)]

    assert greedy_soup({"a": 0.7, "b": 0.8, "c": 0.6, "d": 0.5}, score_of_mean) == ("b", "c", "d")
    assert asked == [("b", "a"), ("b", "c"), ("b", "c", "d")]


def test_where_no_mean_is_as_good_it_is_the_best_alone() -> None:
    assert greedy_soup({"a": 0.7, "b": 0.8}, lambda _: 0.1) == ("b",)
    assert greedy_soup({"a": 0.7}, lambda _: 1.0) == ("a",)

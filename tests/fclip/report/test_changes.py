"""Changes between two models: flips, slices, classes and rankings."""

import numpy as np
import pytest

from fclip.evaluation.arrivals import new_arrivals
from fclip.evaluation.bootstrap import Resampling
from fclip.evaluation.catalog import Catalog
from fclip.evaluation.outcomes import ClassificationOutcome, MeanOutcome
from fclip.evaluation.protocols.task import SearchResults, TaskOutcome
from fclip.report.changes import (
    class_changes,
    confusion_counts,
    flips,
    query_length,
    rank_biased_overlap,
    ranking_change,
    slice_changes,
    slice_values,
)
from tests.fclip.evaluation.test_protocols import product

HOW = Resampling(resamples=200, confidence=0.95, seed=0)


def classified(labels: list[int], predictions: list[int]) -> TaskOutcome:
    truth, predicted = np.array(labels), np.array(predictions)
    outcome = ClassificationOutcome(truth, predicted, np.where(truth == predicted, 1, 2), 3)
    return TaskOutcome(outcome, tuple(f"p{i:03}" for i in range(len(labels))), classes=("bag", "hat", "shoe"))


def test_flips_class_changes_and_confusion_counts() -> None:
    before, after = classified([0, 0, 1, 2, 2], [0, 1, 1, 2, -1]), classified([0, 0, 1, 2, 2], [2, 0, 1, 0, 0])
    assert flips(before, after).lost == (0, 3)
    assert flips(before, after).won == (1,)
    worst, *others = class_changes(before, after)
    assert (worst.name, worst.before, worst.after, worst.confused_with) == ("shoe", 0.5, 0.0, (("bag", 2),))
    assert {each.name: each.after - each.before for each in others} == {"bag": 0.0, "hat": 0.0}
    assert confusion_counts(before).tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]


def test_slices_by_attribute_leave_out_small_ones() -> None:
    colours = ["red"] * 40 + ["blue"] * 40 + ["grey"] * 5
    shop = Catalog("shop", tuple(product(i, colour=colour) for i, colour in enumerate(colours)))
    labels = [0] * 85
    before, after = classified(labels, labels), classified(labels, [1] * 20 + [0] * 65)
    actual = slice_changes(
        before, after, slice_values(after, shop, ["colour", "brand"]), "acc1", min_items=30, resampling=HOW
    )
    assert [(each.name, each.value, each.num_items) for each in actual] == [
        ("colour", "red", 40),
        ("colour", "blue", 40),
    ]
    assert actual[0].after == pytest.approx(0.5)
    assert actual[0].difference.high < 0
    assert not actual[1].difference.excludes_zero


def test_text_queries_are_sliced_by_length() -> None:
    queries = TaskOutcome(
        MeanOutcome({"hit_at_10": np.ones(3)}), ("red bag", "a red bag for men", "one two three four five six")
    )
    values = slice_values(queries, Catalog("shop", ()), ["colour"])
    assert values == {"query": ["up to 2 words", "3 to 5 words", "more than 5 words"]}
    assert query_length("bag") == "up to 2 words"


def test_rank_biased_overlap() -> None:
    one = np.arange(10)
    assert rank_biased_overlap(one, one) == 1
    assert rank_biased_overlap(one, one + 10) == 0
    swapped_first, swapped_last = one.copy(), one.copy()
    swapped_first[[0, 1]], swapped_last[[8, 9]] = [1, 0], [9, 8]
    assert rank_biased_overlap(one, swapped_first) < rank_biased_overlap(one, swapped_last) < 1
    # By hand at depth 2: agreement 0, then 1; weights 1 and 0.9.
    assert rank_biased_overlap(np.array([0, 1]), np.array([1, 0])) == pytest.approx(0.9 / 1.9)


def test_ranking_change_of_each_query() -> None:
    def search_outcome(rows: list[list[int]]) -> TaskOutcome:
        ranked = np.array(rows)
        return TaskOutcome(
            MeanOutcome({"mrr": np.ones(2)}), ("a", "b"), search_results=SearchResults(("x",) * 9, ranked, ranked < 0)
        )

    change = ranking_change(search_outcome([[0, 1, 2], [3, 4, -1]]), search_outcome([[2, 1, 0], [5, 6, 7]]))
    assert change.overlap.tolist() == [1, 0]
    assert 0 < change.rbo[0] < 1


def test_new_arrivals_are_the_newest_tenth_with_ties() -> None:
    years = [str(2000 + number % 20) for number in range(40)]
    actual = new_arrivals([*years, None])
    assert [year for year, value in zip(years, actual, strict=False) if value == "new"] == ["2018", "2019"] * 2
    assert actual[-1] is None
    assert actual.count("earlier") == 36
    assert new_arrivals(["9", "10", "8"]) == ["earlier", "new", "earlier"]  # compared as numbers
    assert new_arrivals(["2026-09-30", "2026-10-01", "2026-10-01"]) == ["earlier", "new", "new"]
    assert new_arrivals([None, None]) == [None, None]

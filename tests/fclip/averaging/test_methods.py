"""Averaging methods: the section `average`, and the recipes of the methods for artificial candidates."""

from collections.abc import Mapping, Sequence

import pytest

from fclip.averaging.registry import (
    AverageConfig,
    AveragingContext,
    Recipe,
    Shares,
    TowerShares,
    averaging_methods,
    trained_ancestors,
)
from fclip.config import parse_config
from fclip.errors import UserError
from fclip.models.candidates import Candidate

BASE = Candidate("base-model", "base", 0, 0.0, "a")
ORIGINAL_BASE_MODEL = Candidate("original-base-model", "original-base-model", 0, 0.0, "b")
FIRST, SECOND = (Candidate(f"step-{step}", "checkpoint", step, 1.0, f"{step}") for step in (10, 20))
EMA = Candidate("mean-20", "ema", 20, 1.0, "c")
TRAINED = (BASE, ORIGINAL_BASE_MODEL, FIRST, SECOND, EMA)
SOUP = Candidate("soup", "soup", 20, 1.0, "d", parents={"step-10": 0.5, "step-20": 0.5})


def recipes(
    values: Mapping[str, object], candidates: Sequence[Candidate], context: AveragingContext
) -> Sequence[Recipe]:
    (config,) = parse_config({"methods": [values]}, AverageConfig, where="params.yaml").methods
    return averaging_methods()[config.kind].recipes(config, candidates, context)


def context(scores: Mapping[str, float], of_average: float = 0.0) -> AveragingContext:
    """Scores of candidates by name; every average has the score `of_average`. Empty: nothing can be scored."""

    def scored(parents: Shares) -> Mapping[str, float] | None:
        assert isinstance(parents, Mapping)
        if not scores:
            return None
        return {"shop.acc1": of_average if len(parents) > 1 else scores[next(iter(parents))]}

    return lambda averages: [scored(parents) for parents in averages]


def test_checkpoints_and_averages_are_interpolated_with_the_base_model() -> None:
    mixed = Candidate("step-10-at-0.50", "interpolated", 10, 1.0, "e", parents={"base-model": 0.5, "step-10": 0.5})
    found = recipes({"kind": "interpolation", "shares": [0.25, 0.5]}, (*TRAINED, SOUP, mixed), context({}))
    assert [recipe.name for recipe in found] == [
        "step-10-at-0.25", "step-10-at-0.50", "step-20-at-0.25", "step-20-at-0.50", "soup-at-0.25", "soup-at-0.50",
    ]  # fmt: skip
    assert {recipe.kind for recipe in found} == {"interpolated"}
    assert found[-2].parents == {"base-model": 0.75, "soup": 0.25}
    expanded = {"base-model": 0.75, "step-10": 0.125, "step-20": 0.125}
    assert trained_ancestors(found[-2].parents, (*TRAINED, SOUP)) == TowerShares(expanded, expanded)


def test_the_soup_averages_checkpoints_with_a_score() -> None:
    found = recipes({"kind": "soup"}, TRAINED, context({"step-10": 0.5, "step-20": 0.6}, of_average=0.6))
    assert [(recipe.name, recipe.kind, recipe.parents) for recipe in found] == [
        ("soup", "soup", {"step-20": 0.5, "step-10": 0.5})
    ]
    assert not recipes({"kind": "soup"}, TRAINED, context({"step-10": 0.5, "step-20": 0.6}, of_average=0.1))
    assert not recipes({"kind": "soup"}, TRAINED, context({}))


def bending(parents: Shares) -> Mapping[str, float]:
    """Two metrics that are level from a share of 0.4 and 0.62 on, and fall below."""
    assert isinstance(parents, Mapping)
    share = 1 - parents.get("base-model", 0.0)
    return {"shop.acc1": 0.7 - max(0.0, 0.4 - share), "shop.recall": 0.5 - max(0.0, 0.62 - share) / 2}


def test_line_search_finds_where_in_domain_scores_bend() -> None:
    asked: list[Shares] = []

    def counting(averages: Sequence[Shares]) -> list[Mapping[str, float] | None]:
        asked.extend(averages)
        return [bending(parents) for parents in averages]

    found = recipes({"kind": "line-search"}, TRAINED, counting)
    # The recall is the tighter one: 0.5, 1, 1.5, 2 and 3 points are lost at shares of .61, .60, .59, .58 and .56.
    assert [recipe.name for recipe in found] == ["step-20-at-0.60", "step-20-at-0.65"]
    assert found[0].parents == {"base-model": 0.4, "step-20": 0.6}
    assert {recipe.kind for recipe in found} == {"interpolated"}
    assert len(asked) <= 1 + 8, "the search is a bisection, not a grid"
    naive = [
        min(share for share in range(1, 21) if 0.5 - bending({"base-model": 1 - share / 20})["shop.recall"] <= limit)
        for limit in (0.005, 0.01, 0.015, 0.02, 0.03)
    ]
    assert sorted({f"step-20-at-{share / 20:.2f}" for share in naive}) == [recipe.name for recipe in found]


def test_line_search_ends_at_averages_or_else_at_the_last_checkpoint() -> None:
    mixed = Candidate("step-10-at-0.50", "interpolated", 10, 1.0, "e", parents={"base-model": 0.5, "step-10": 0.5})
    for candidates, end in (((*TRAINED, SOUP, mixed), "soup"), ((*TRAINED, mixed), "step-20"), ((BASE,), None)):
        found = recipes({"kind": "line-search"}, candidates, lambda all_: [bending(each) for each in all_])
        assert {recipe.name.partition("-at-")[0] for recipe in found} == ({end} if end else set())


def test_line_search_does_not_repeat_an_interpolation() -> None:
    same = Candidate("step-20-at-0.60", "interpolated", 20, 1.0, "e", parents={"base-model": 0.4, "step-20": 0.6})
    found = recipes({"kind": "line-search"}, (*TRAINED, same), lambda all_: [*map(bending, all_)])
    assert [recipe.name for recipe in found] == ["step-20-at-0.65"]


def test_line_search_without_scores_or_with_broken_averages_makes_no_recipe() -> None:
    assert not recipes({"kind": "line-search"}, TRAINED, context({}))
    broken = recipes(
        {"kind": "line-search"}, TRAINED, lambda all_: [bending(each) if len(each) == 1 else None for each in all_]
    )
    assert not broken


def forgetful(shares: Shares) -> Mapping[str, float]:
    """Types are best with a text tower at 0.6, and fall with the image tower below 0.8; recall falls with both."""
    both = shares if isinstance(shares, TowerShares) else TowerShares(shares, shares)
    images, texts = (round(1 - tower.get("base-model", 0.0), 2) for tower in (both.images, both.texts))
    return {
        "shop.acc1": 0.75 - 0.099 * abs(texts - 0.6) - max(0.0, 0.8 - images),
        "shop.recall": 0.5 - 0.019 * (1 - images) - 0.049 * max(0.0, 0.9 - texts),
    }


def test_tower_search_moves_the_text_tower_back_and_then_the_image_tower() -> None:
    asked: list[Shares] = []

    def counting(averages: Sequence[Shares]) -> list[Mapping[str, float] | None]:
        asked.extend(averages)
        return [forgetful(shares) for shares in averages]

    found = recipes({"kind": "tower-search"}, TRAINED, counting)
    by_name = {recipe.name: recipe.parents for recipe in found}
    # A naive search over the whole grid, the text tower first.
    best = {"shop.acc1": 0.75, "shop.recall": 0.5}
    expected = set()
    for tolerance in (0.005, 0.01, 0.015, 0.02, 0.03):
        grid = [
            (texts, images)
            for texts in range(4, 21, 2)
            for images in range(1, 21)
            if all(
                best[metric] - score <= tolerance + 1e-12
                for metric, score in forgetful(
                    TowerShares({"base-model": 1 - images / 20}, {"base-model": 1 - texts / 20})
                ).items()
            )
        ]
        if not (whole := [texts for texts, images in grid if images == 20]):
            expected |= {(20, 14)}  # the metrics disagree, and this average loses least
            continue
        texts = min(whole)
        images = min(images for own, images in grid if own == texts)
        expected |= {(20, texts), (images, texts)}
    assert set(by_name) == {f"step-20-at-{i / 20:.2f}-texts-{t / 20:.2f}" for i, t in expected}
    assert by_name["step-20-at-1.00-texts-0.60"] == TowerShares({"step-20": 1.0}, {"base-model": 0.4, "step-20": 0.6})
    moved = {shares.images.get("base-model") for shares in asked if isinstance(shares, TowerShares)}
    assert len(moved) < 12, "few image towers are encoded"


def test_tower_search_takes_the_line_if_the_text_tower_was_not_trained() -> None:
    def frozen(shares: Shares) -> Mapping[str, float]:
        images = shares.images if isinstance(shares, TowerShares) else shares
        return bending(images)

    found, on_the_line = (
        recipes({"kind": kind}, TRAINED, lambda all_: [frozen(each) for each in all_])
        for kind in ("tower-search", "line-search")
    )
    assert found == on_the_line
    assert len(found) > 1


def test_tower_search_ends_at_averages_without_the_base_model_in_either_tower() -> None:
    swapped = Candidate(
        "swapped", "interpolated", 20, 1.0, "e", parents={"step-20": 1.0}, text_parents={"base-model": 1.0}
    )
    for candidates, end in (((*TRAINED, SOUP, swapped), "soup"), ((*TRAINED, swapped), "step-20"), ((BASE,), None)):
        found = recipes({"kind": "tower-search"}, candidates, lambda all_: [forgetful(each) for each in all_])
        assert {recipe.name.partition("-at-")[0] for recipe in found} == ({end} if end else set())
    assert not recipes({"kind": "tower-search"}, TRAINED, lambda all_: [None] * len(all_))
    assert trained_ancestors({"swapped": 0.5, "step-10": 0.5}, (*TRAINED, swapped)) == TowerShares(
        {"step-20": 0.5, "step-10": 0.5}, {"base-model": 0.5, "step-10": 0.5}
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([{"kind": "median"}], "`kind` must be one of interpolation, line-search, soup, tower-search"),
        ([{"kind": "soup"}, {"kind": "soup"}], "each kind at most once, not `soup` twice"),
        ([{"kind": "soup", "shares": [0.5]}], "average.methods.0.shares: unknown key"),
        ([{"kind": "interpolation", "shares": []}], "at least one number, each between 0 and 1"),
        ([{"kind": "interpolation", "shares": [1.0]}], "at least one number, each between 0 and 1"),
        ([{"kind": "interpolation", "shares": [0.5, 0.501]}], "differ in their first two decimals"),
    ],
)
def test_invalid_params_are_named(values: list[dict[str, object]], message: str) -> None:
    with pytest.raises(UserError) as error:
        parse_config({"methods": values}, AverageConfig, where="params.yaml", section="average")
    assert message in str(error.value)

"""Averaging methods: the section `average`, and the recipes of the methods for artificial candidates."""

from collections.abc import Mapping, Sequence

import pytest

from fclip.averaging.registry import AverageConfig, AveragingContext, Recipe, averaging_methods, trained_ancestors
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
    return AveragingContext(
        scores=lambda names: {name: scores[name] for name in names if name in scores},
        score_of_average=lambda parents: of_average,
    )


def test_checkpoints_and_averages_are_interpolated_with_the_base_model() -> None:
    mixed = Candidate("step-10-at-0.50", "interpolated", 10, 1.0, "e", parents={"base-model": 0.5, "step-10": 0.5})
    found = recipes({"kind": "interpolation", "shares": [0.25, 0.5]}, (*TRAINED, SOUP, mixed), context({}))
    assert [recipe.name for recipe in found] == [
        "step-10-at-0.25", "step-10-at-0.50", "step-20-at-0.25", "step-20-at-0.50", "soup-at-0.25", "soup-at-0.50",
    ]  # fmt: skip
    assert {recipe.kind for recipe in found} == {"interpolated"}
    assert found[-2].parents == {"base-model": 0.75, "soup": 0.25}
    assert trained_ancestors(found[-2].parents, (*TRAINED, SOUP)) == {
        "base-model": 0.75,
        "step-10": 0.125,
        "step-20": 0.125,
    }


def test_the_soup_averages_checkpoints_with_a_score() -> None:
    found = recipes({"kind": "soup"}, TRAINED, context({"step-10": 0.5, "step-20": 0.6}, of_average=0.6))
    assert [(recipe.name, recipe.kind, recipe.parents) for recipe in found] == [
        ("soup", "soup", {"step-20": 0.5, "step-10": 0.5})
    ]
    assert not recipes({"kind": "soup"}, TRAINED, context({"step-10": 0.5, "step-20": 0.6}, of_average=0.1))
    assert not recipes({"kind": "soup"}, TRAINED, context({}))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([{"kind": "median"}], "`kind` must be one of interpolation, soup"),
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

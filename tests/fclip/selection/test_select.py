"""Selection: the choice of each rule, eligibility, near ties, reasons and warnings."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fclip.errors import UserError
from fclip.models.candidates import Candidate
from fclip.selection.candidates import Score, ScoredCandidate
from fclip.selection.config import SelectConfig
from fclip.selection.preferences import PICKS
from fclip.selection.result import SelectionResult, read_selection, write_selection
from fclip.selection.select import select


def candidate(
    step: int, in_domain: float, out_of_domain: dict[str, float], *, loss: float | None = 1.0, broken: int = 0
) -> ScoredCandidate:
    return ScoredCandidate(
        Candidate(
            name="base-model" if step == 0 else f"step-{step:06d}",
            kind="base" if step == 0 else "checkpoint",
            step=step,
            epoch=step / 100,
            model_sha256=f"{step:064d}",
            val_loss=loss,
            distance=step / 100,
        ),
        in_domain={"shop": Score(in_domain, 0.01, 0)},
        out_of_domain={name: Score(value, 0.02, 0) for name, value in out_of_domain.items()},
        num_nonfinite=broken,
    )


def changed(scored: ScoredCandidate, **values: object) -> ScoredCandidate:
    """Return the candidate with other values in its record."""
    return replace(scored, candidate=replace(scored.candidate, **values))


def soup(in_domain: float) -> ScoredCandidate:
    parents = {"step-000200": 0.5, "step-000300": 0.5}
    average = candidate(300, in_domain, {"home": 0.6, "grey": 0.7}, loss=None)
    return changed(average, name="soup", kind="soup", parents=parents)


def step(selection: SelectionResult) -> int:
    """Return the step of the selected candidate."""
    return selection.selected.candidate.step


def scores(selection: SelectionResult) -> list[float | None]:
    return [entry.score for entry in selection.candidates]


def config(rule: str = "mean_normalised_gain", tolerance: float = 0.05) -> SelectConfig:
    return SelectConfig(rule=rule, in_domain_tolerance=tolerance, tie_confidence=None)


# The in-domain score rises with each pass, but the first pass is best out of domain, as in the FashionCLIP model card.
FORGETTING = [
    candidate(0, 0.10, {"home": 0.37, "grey": 0.26}, loss=4.0),
    candidate(100, 0.70, {"home": 0.46, "grey": 0.59}, loss=1.2),
    candidate(200, 0.72, {"home": 0.41, "grey": 0.60}, loss=1.0),
    candidate(300, 0.74, {"home": 0.39, "grey": 0.59}, loss=0.9),
]


def test_rules_can_select_different_candidates() -> None:
    selection = select(FORGETTING, config())
    assert step(selection) == 100
    assert selection.choices["in_domain_loss"] == "step-000300"
    assert selection.choices["mean_normalised_gain"] == "step-000100"
    assert step(select(FORGETTING, config("in_domain_loss"))) == 300


def test_score_is_the_mean_normalised_gain() -> None:
    selection = select(FORGETTING, config())
    expected = ((0.46 - 0.37) / (0.46 - 0.37) + (0.59 - 0.26) / (0.60 - 0.26)) / 2
    assert scores(selection)[1] == pytest.approx(expected)


def test_normalised_gain_is_at_least_minus_one() -> None:
    ruined = [*FORGETTING, candidate(400, 0.75, {"home": 0.0, "grey": 0.60})]
    assert scores(select(ruined, config(tolerance=1.0)))[4] == pytest.approx((-1 + 1) / 2)
    assert select(ruined, config(tolerance=1.0)).candidates[4].out_of_domain["home"].gain == -1


def test_mean_score_and_mean_rank() -> None:
    means = scores(select(FORGETTING, config("mean_score", 1.0)))
    assert means == pytest.approx([(0.37 + 0.26) / 2, (0.46 + 0.59) / 2, (0.41 + 0.60) / 2, (0.39 + 0.59) / 2])
    ranks = scores(select(FORGETTING, config("mean_rank", 1.0)))
    assert ranks == pytest.approx([-4.0, -(1 + 2.5) / 2, -(2 + 1) / 2, -(3 + 2.5) / 2])


def test_gain_within_the_noise_stays_small() -> None:
    flat = [candidate(0, 0.5, {"home": 0.400}), candidate(100, 0.6, {"home": 0.401})]
    assert scores(select(flat, config(tolerance=1.0)))[1] == pytest.approx(0.001 / 0.02)


def test_tolerance_excludes_candidates_weak_in_domain() -> None:
    selection = select(FORGETTING, config(tolerance=0.03))
    assert [entry.eligible for entry in selection.candidates] == [True, False, True, True]
    assert step(selection) == 200


def test_base_model_can_win() -> None:
    worse = [candidate(0, 0.3, {"home": 0.5}), candidate(100, 0.31, {"home": 0.4})]
    selection = select(worse, config())
    assert not selection.differs_from_base
    assert selection.winner == "base-model"
    assert "beats the base model" in selection.reason


def test_original_base_model_can_win() -> None:
    warm = [
        candidate(0, 0.60, {"home": 0.40}),
        changed(candidate(0, 0.58, {"home": 0.40}, loss=None), name="original-base-model", kind="original-base-model"),
    ]
    tuned = candidate(100, 0.62, {"home": 0.35})
    assert select([*warm, tuned], config()).winner == "base-model"  # equal scores: the base model is first
    better = replace(warm[1], out_of_domain={"home": Score(0.5, 0.02, 0)})
    selection = select([warm[0], better, tuned], config())
    assert (selection.winner, selection.differs_from_base) == ("original-base-model", True)
    assert select([warm[0], better, tuned], config("in_domain_loss")).winner == "base-model"


def nearest(tolerance: float = 0.01) -> SelectConfig:
    return SelectConfig(in_domain_tolerance=tolerance)


def held(at: int, accuracy: float, recall: float, *, noise: float = 0.0) -> ScoredCandidate:
    """A candidate without out-of-domain data, with two in-domain metrics and 400 resamples of them."""
    random = np.random.default_rng(at)
    return replace(
        candidate(at, accuracy, {}),
        in_domain={"shop": Score(accuracy, noise, 500, accuracy + random.normal(0, noise, 400))},
        more_held={"shop.recall": Score(recall, noise, 500, recall + random.normal(0, noise, 400))},
    )


SHOP_ALONE = [held(0, 0.30, 0.20), held(100, 0.70, 0.40), held(200, 0.715, 0.50), held(300, 0.72, 0.505)]


def test_default_rule_selects_the_nearest_candidate_that_keeps_every_in_domain_metric() -> None:
    selection = select(SHOP_ALONE, nearest())
    assert (selection.rule, step(selection), selection.warning) == ("nearest_to_base", 200, None)
    assert [entry.eligible for entry in selection.candidates] == [True, False, True, True]
    assert step(select(SHOP_ALONE, nearest(0.02))) == 200, "step 100 keeps the accuracy, but not the recall"
    kept = replace(SHOP_ALONE[1], more_held={"shop.recall": Score(0.49, 0.01, 500, np.full(400, 0.49))})
    assert step(select([SHOP_ALONE[0], kept, *SHOP_ALONE[2:]], nearest(0.02))) == 100
    recall = selection.candidates[1].held["shop.recall"]
    assert (recall.value, recall.deficit, recall.accepted) == pytest.approx((0.40, 0.105, 0.01))
    assert "the choice rests on in-domain data alone and reads no other dataset" in selection.reason
    assert "shop.recall 0.200 -> 0.500 (best 0.505)" in selection.reason


def test_nearest_is_relative_to_weights_and_not_to_steps() -> None:
    average = changed(
        held(300, 0.718, 0.504),
        name="late-at-0.50",
        kind="interpolated",
        distance=0.5,
        parents={"base-model": 0.5, "step-000300": 0.5},
    )
    assert select([*SHOP_ALONE, average], nearest()).winner == "late-at-0.50"
    unknown = changed(held(150, 0.72, 0.505), distance=None)
    assert step(select([*SHOP_ALONE, unknown], nearest())) == 200, "a distance that is not known is not near"


def test_one_standard_error_is_always_accepted() -> None:
    noisy = [held(0, 0.30, 0.20), held(100, 0.68, 0.47, noise=0.05), held(300, 0.72, 0.505, noise=0.05)]
    selection = select(noisy, nearest())
    assert step(selection) == 100, "four points are less than one standard error of the difference"
    accepted = selection.candidates[1].held["shop"].accepted
    assert accepted == pytest.approx(0.05 * 2**0.5, rel=0.15)
    certain = [each if at != 1 else held(100, 0.68, 0.47) for at, each in enumerate(noisy)]
    assert select(certain, nearest()).candidates[1].held["shop"].accepted == pytest.approx(0.05, rel=0.15)


def test_metrics_that_disagree_widen_the_tolerance_as_little_as_possible() -> None:
    apart = [held(0, 0.30, 0.20), held(100, 0.74, 0.45), held(200, 0.73, 0.48), held(300, 0.70, 0.50)]
    selection = select(apart, nearest())
    assert step(selection) == 200, "it misses the best by 1 and 2 points; no other is nearer to both"
    assert [entry.eligible for entry in selection.candidates] == [True, False, True, False]
    assert selection.candidates[2].held["shop.recall"].accepted == pytest.approx(0.02)
    assert selection.warning == (
        "The best candidates by shop and shop.recall differ, and none is within 1 points of the best by each of them; "
        "1 points more were accepted"
    )
    assert step(select(apart, nearest(0.05))) == 100
    assert select(SHOP_ALONE, nearest()).warning is None


def test_base_model_within_the_tolerance_is_kept_and_one_outside_is_left() -> None:
    selection = select([held(0, 0.715, 0.50), *SHOP_ALONE[1:]], nearest())
    assert not selection.differs_from_base
    assert "the base model is within 1 points" in selection.reason
    assert select(SHOP_ALONE, nearest()).differs_from_base


def test_result_says_what_other_tolerances_select() -> None:
    by_tolerance = {each.tolerance: each.winner for each in select(SHOP_ALONE, nearest(0.12)).by_tolerance}
    assert by_tolerance == {
        0.0: "step-000300",
        0.005: "step-000200",
        0.01: "step-000200",
        0.015: "step-000200",
        0.02: "step-000200",
        0.03: "step-000200",
        0.12: "step-000100",
        0.36: "step-000100",
    }


def test_preference_applies_its_own_tolerance() -> None:
    def picks(selection: SelectionResult) -> list[tuple[str | None, float, str]]:
        return [(each.prefer, each.tolerance, each.winner) for each in selection.picks]

    chosen = {prefer: select(SHOP_ALONE, replace(nearest(0.04), prefer=prefer)) for prefer in PICKS}
    assert {prefer: step(selection) for prefer, selection in chosen.items()} == {
        "catalog": 300,
        "balanced": 200,
        "elsewhere": 100,
    }
    assert picks(chosen["catalog"]) == picks(chosen["elsewhere"])
    assert picks(chosen["balanced"]) == [
        ("catalog", 0.0, "step-000300"),
        ("balanced", 0.04, "step-000200"),
        ("elsewhere", 0.12, "step-000100"),
    ]
    without = select(SHOP_ALONE, nearest(0.0))
    assert picks(without) == [(prefer, 0.0, "step-000300") for prefer in PICKS]


@pytest.mark.parametrize("rule", ["mean_normalised_gain", "mean_score", "mean_rank"])
def test_rule_that_reads_other_datasets_needs_one(rule: str) -> None:
    with pytest.raises(UserError, match=f"select.rule {rule} reads out-of-domain datasets, and none has the role"):
        select(SHOP_ALONE, config(rule))
    assert rule not in select(SHOP_ALONE, nearest()).choices


def test_candidate_with_nonfinite_features_is_never_selected() -> None:
    broken = [*FORGETTING[:2], candidate(400, 0.99, {"home": 0.9, "grey": 0.9}, loss=None, broken=3)]
    for rule in ("mean_normalised_gain", "in_domain_metric", "last", "in_domain_loss"):
        assert step(select(broken, config(rule))) != 400
    with pytest.raises(UserError, match="the base model gives features"):
        select([candidate(0, 0.1, {}, broken=1)], config())


def test_earliest_of_equal_candidates_wins() -> None:
    tied = [candidate(0, 0.3, {"home": 0.4}), *(candidate(at, 0.6, {"home": 0.5}) for at in (300, 100, 200))]
    assert step(select(tied, config())) == 100


def test_selection_file_round_trip_without_nan_or_infinity(tmp_path: Path) -> None:
    broken = [*FORGETTING, candidate(400, 0.2, {"home": 0.1, "grey": 0.1}, loss=None)]
    selection = select(broken, config("in_domain_loss"))
    write_selection(tmp_path / "selection.json", selection)
    text = (tmp_path / "selection.json").read_text()
    assert json.loads(text)["candidates"][-1]["score"] is None
    assert "NaN" not in text
    assert "Infinity" not in text
    read = read_selection(tmp_path / "selection.json")
    assert replace(read, candidates=()) == replace(selection, candidates=())
    for before, after in zip(selection.candidates, read.candidates, strict=True):
        assert after.candidate == before.candidate
        assert (after.eligible, after.score) == (before.eligible, before.score)
        assert after.in_domain == pytest.approx(before.in_domain, abs=1e-6)
        assert after.out_of_domain["home"].gain == pytest.approx(before.out_of_domain["home"].gain, abs=1e-6)


@pytest.mark.parametrize("text", ["{}", '{"candidates": [{"name": "base-model"}]}', "[]", "not JSON"])
def test_invalid_selection_file_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "selection.json"
    path.write_text(text)
    with pytest.raises(UserError, match="is not a selection result"):
        read_selection(path)
    with pytest.raises(UserError, match=r"nothing\.json is missing"):
        read_selection(tmp_path / "nothing.json")


def test_missing_base_model_and_unknown_rule_are_errors() -> None:
    with pytest.raises(UserError, match="no candidate `base-model`"):
        select(FORGETTING[1:], config())
    with pytest.raises(ValueError, match="rule must be one of"):
        config("best")


def test_nonfinite_candidate_does_not_change_the_gains_of_others() -> None:
    broken = candidate(400, 0.99, {"home": 0.9, "grey": 0.9}, loss=None, broken=3)
    assert scores(select([*FORGETTING, broken], config()))[:4] == scores(select(FORGETTING, config()))


def test_warning_without_an_in_domain_select_split() -> None:
    blind = [replace(candidate(at, 0.0, {"home": 0.4 + at / 1000}), in_domain={}) for at in (0, 100)]
    selection = select(blind, config(tolerance=0.0))
    assert step(selection) == 100
    assert "tolerance cannot be applied" in (selection.warning or "")
    assert "nearest_to_base" not in selection.choices
    with pytest.raises(UserError, match="no training dataset has a split with the role select; assign the role"):
        select(blind, nearest())


def test_all_rules_select_among_the_eligible_candidates() -> None:
    collapsed = [*FORGETTING, candidate(400, 0.2, {"home": 0.3, "grey": 0.3}, loss=0.5)]
    selection = select(collapsed, config())
    assert selection.choices["last"] == selection.choices["in_domain_loss"] == "step-000300"


def test_rules_differ_on_simulated_fine_tuning() -> None:
    """In-domain scores rise; out-of-domain scores rise, then fall. Both have noise."""
    random = np.random.default_rng(0)
    steps = np.arange(0, 700, 100)
    in_domain = 0.1 + 0.65 * (1 - np.exp(-steps / 120)) + random.normal(0, 0.005, len(steps))
    home = 0.37 + 0.10 * (1 - np.exp(-steps / 50)) - 0.02 * steps / 100 + random.normal(0, 0.005, len(steps))
    candidates = [
        candidate(int(at), float(in_domain_score), {"home": float(home_score)}, loss=float(4 - 5 * in_domain_score))
        for at, in_domain_score, home_score in zip(steps, in_domain, home, strict=True)
    ]
    selection = select(candidates, config(tolerance=0.15))
    chosen = {rule: int(name.removeprefix("step-")) for rule, name in selection.choices.items()}
    assert chosen["mean_normalised_gain"] < chosen["in_domain_loss"]
    assert home[chosen["mean_normalised_gain"] // 100] > home[chosen["in_domain_loss"] // 100]


def resampled(
    at: int, in_domain: float, out_of_domain: float, noise: float, *, distance: float | None = None
) -> ScoredCandidate:
    """A candidate with 400 resamples: noise of 0.1 shared by all candidates, and `noise` of this one."""
    shared = np.random.default_rng(0).normal(0, 0.1, 400)
    individual = np.random.default_rng(at + 1).normal(0, noise, 400)
    made = changed(candidate(at, in_domain, {}), distance=at / 100 if distance is None else distance)
    return replace(
        made,
        in_domain={"shop": Score(in_domain, 0.01, 500, np.full(400, in_domain))},
        out_of_domain={"home": Score(out_of_domain, 0.1, 500, out_of_domain + shared + individual)},
    )


def with_ties(confidence: float | None, tolerance: float = 1.0) -> SelectConfig:
    return SelectConfig(rule="mean_score", in_domain_tolerance=tolerance, tie_confidence=confidence)


def test_near_tie_closest_to_the_base_model_wins() -> None:
    pool = [resampled(0, 0.2, 0.30, 0.001), resampled(100, 0.6, 0.499, 0.01), resampled(300, 0.7, 0.50, 0.01)]
    plain = select(pool, with_ties(None))
    assert (step(plain), plain.near_ties) == (300, ("step-000300",))
    selection = select(pool, with_ties(0.9))
    assert (selection.best, step(selection)) == ("step-000300", 100)
    assert selection.near_ties == ("step-000100", "step-000300")
    assert "closer to the base model" in selection.reason
    assert step(select(pool, with_ties(0.9, 0.05))) == 300, "step 100 is too weak in domain"
    assert step(select([*pool[:2], changed(pool[2], distance=0.5)], with_ties(0.9))) == 300, "step 300 is the closest"


def test_certain_difference_is_no_near_tie() -> None:
    # Each score has a standard error of 0.1, but the noise is shared, so the difference of 0.03 is certain.
    pool = [resampled(0, 0.2, 0.30, 0.001), resampled(100, 0.6, 0.47, 0.001), resampled(300, 0.7, 0.50, 0.001)]
    assert step(select(pool, with_ties(0.95))) == 300


def test_base_model_wins_if_the_gain_may_be_chance() -> None:
    pool = [resampled(0, 0.68, 0.499, 0.01), resampled(100, 0.7, 0.50, 0.01)]
    selection = select(pool, with_ties(0.9))
    assert not selection.differs_from_base
    assert "may be due to chance" in selection.reason
    weak = [replace(pool[0], in_domain={"shop": Score(0.1, 0.01, 500, np.full(400, 0.1))}), pool[1]]
    assert step(select(weak, with_ties(0.9, 0.05))) == 100, "the base model is not within the in-domain tolerance"


def test_rules_without_item_scores_have_no_near_ties() -> None:
    pool = [resampled(0, 0.2, 0.30, 0.001), resampled(100, 0.6, 0.499, 0.01), resampled(300, 0.7, 0.50, 0.01)]
    config = SelectConfig(rule="last", in_domain_tolerance=1.0, tie_confidence=0.95)
    assert step(select(pool, config)) == 300


def test_average_is_not_the_last_checkpoint() -> None:
    average = soup(0.8)
    selection = select([*FORGETTING, average], config(tolerance=1.0))
    assert selection.choices["last"] == "step-000300"
    assert selection.choices["in_domain_loss"] == "step-000300"
    assert selection.winner == "soup"


def test_label_free_rules() -> None:
    def measured(scored: ScoredCandidate, margin: float, alignment: float, uniformity: float) -> ScoredCandidate:
        metrics = {"margin": margin, "alignment": alignment, "uniformity": uniformity}
        return replace(scored, label_free={"home": metrics})

    pool = [
        measured(FORGETTING[0], 0.1, 1.8, 0.9),
        measured(FORGETTING[1], 0.3, 1.2, 0.5),
        measured(FORGETTING[2], 0.5, 1.4, 0.3),
        measured(FORGETTING[3], 0.4, 1.0, 0.4),
    ]
    chosen = {rule: step(select(pool, config(rule, 1.0))) for rule in ("margin", "alignment")}
    assert chosen == {"margin": 200, "alignment": 300}
    assert "margin" not in select(FORGETTING, config()).choices
    with pytest.raises(UserError, match=r"select.rule margin reads a metric that no label-free protocol measures"):
        select(FORGETTING, config("margin"))


def test_warnings_about_weak_pools() -> None:
    alone = select(FORGETTING[:1], config())
    assert (alone.differs_from_base, alone.winner) == (False, "base-model")
    assert "the base model was the only choice" in (alone.warning or "")
    ruined = [FORGETTING[0], *(replace(each, num_nonfinite=3) for each in FORGETTING[1:])]
    selection = select(ruined, config())
    assert not selection.differs_from_base
    assert "Every candidate other than the base model gives features that are not finite" in (selection.warning or "")
    few = [
        replace(each, out_of_domain={"home": Score(each.out_of_domain["home"].value, 0.14, 12)}) for each in FORGETTING
    ]
    assert "home has only 12 items for selection, so a difference of less than 0.29 on it may be due to chance" in (
        select(few, config()).warning or ""
    )


def test_base_model_weak_in_domain_wins_only_if_losses_outweigh_gains() -> None:
    # Trained from scratch: near chance on two datasets, a little below the base model, and improving on the third.
    scratch = [
        candidate(0, 0.01, {"home": 0.06, "grey": 0.10, "types": 0.05}),
        candidate(100, 0.40, {"home": 0.05, "grey": 0.11, "types": 0.20}),
        candidate(200, 0.60, {"home": 0.03, "grey": 0.09, "types": 0.40}),
    ]
    selection = select(scratch, config())
    assert scores(selection)[2] == pytest.approx((-1 - 0.5 + 1) / 3)
    assert step(selection) == 200, "with the in-domain gain of 1 it beats the base model"
    assert "its loss out of domain is outweighed by its gain in domain" in selection.reason
    assert "is outweighed" not in select(FORGETTING, config()).reason
    assert step(select(scratch, config("mean_score"))) == 200
    without = [
        replace(each, out_of_domain={name: each.out_of_domain[name] for name in ("home", "grey")}) for each in scratch
    ]
    selection = select(without, config())
    assert (selection.differs_from_base, selection.winner) == (False, "base-model")
    assert (
        "beats the base model by mean normalised gain, with the in-domain score counted as one more dataset"
        in selection.reason
    )
    as_good = replace(without[0], in_domain={"shop": Score(0.59, 0.01, 0)})
    assert "counted as" not in select([as_good, *without[1:]], config()).reason, (
        "the base model is within the tolerance"
    )


def test_tolerance_is_relative_to_candidates_that_the_rule_can_score() -> None:
    average = soup(0.9)
    choices = select([*FORGETTING, average], config(tolerance=0.01)).choices
    assert choices["in_domain_loss"] == choices["last"] == "step-000300"
    assert choices["in_domain_metric"] == "soup"

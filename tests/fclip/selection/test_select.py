"""Selection: what each rule chooses, who is eligible, and what is said."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fclip.errors import UserError
from fclip.models.candidates import Candidate
from fclip.selection.candidates import Score, ScoredCandidate
from fclip.selection.config import SelectConfig
from fclip.selection.result import SelectionResult, read_selection, write_selection
from fclip.selection.select import select


def candidate(
    step: int, in_domain: float, outside: dict[str, float], *, loss: float | None = 1.0, broken: int = 0
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
        out_of_domain={name: Score(value, 0.02, 0) for name, value in outside.items()},
        num_nonfinite=broken,
    )


def changed(scored: ScoredCandidate, **values: object) -> ScoredCandidate:
    """The same with other values in its record."""
    return replace(scored, candidate=replace(scored.candidate, **values))


def soup(in_domain: float) -> ScoredCandidate:
    parents = {"step-000200": 0.5, "step-000300": 0.5}
    average = candidate(300, in_domain, {"home": 0.6, "grey": 0.7}, loss=None)
    return changed(average, name="soup", kind="soup", parents=parents)


def step(selection: SelectionResult) -> int:
    """The winner's step."""
    return selection.selected.candidate.step


def scores(selection: SelectionResult) -> list[float | None]:
    return [entry.score for entry in selection.candidates]


def config(rule: str = "mean_normalised_gain", tolerance: float = 0.05) -> SelectConfig:
    return SelectConfig(rule=rule, in_domain_tolerance=tolerance, tie_confidence=None)


# In domain each pass is better; outside the first is the best: the case of the FashionCLIP card.
FORGETTING = [
    candidate(0, 0.10, {"home": 0.37, "grey": 0.26}, loss=4.0),
    candidate(100, 0.70, {"home": 0.46, "grey": 0.59}, loss=1.2),
    candidate(200, 0.72, {"home": 0.41, "grey": 0.60}, loss=1.0),
    candidate(300, 0.74, {"home": 0.39, "grey": 0.59}, loss=0.9),
]


def test_two_rules_choose_differently() -> None:
    selection = select(FORGETTING, config())
    assert step(selection) == 100
    assert selection.choices["in_domain_loss"] == "step-000300"
    assert selection.choices["mean_normalised_gain"] == "step-000100"
    assert step(select(FORGETTING, config("in_domain_loss"))) == 300


def test_the_gain_is_the_formula() -> None:
    selection = select(FORGETTING, config())
    expected = ((0.46 - 0.37) / (0.46 - 0.37) + (0.59 - 0.26) / (0.60 - 0.26)) / 2
    assert scores(selection)[1] == pytest.approx(expected)


def test_a_loss_counts_as_much_as_what_could_be_won_and_no_more() -> None:
    ruined = [*FORGETTING, candidate(400, 0.75, {"home": 0.0, "grey": 0.60})]
    assert scores(select(ruined, config(tolerance=1.0)))[4] == pytest.approx((-1 + 1) / 2)
    assert select(ruined, config(tolerance=1.0)).candidates[4].out_of_domain["home"].gain == -1


def test_means_of_scores_and_ranks() -> None:
    means = scores(select(FORGETTING, config("mean_score", 1.0)))
    assert means == pytest.approx([(0.37 + 0.26) / 2, (0.46 + 0.59) / 2, (0.41 + 0.60) / 2, (0.39 + 0.59) / 2])
    ranks = scores(select(FORGETTING, config("mean_rank", 1.0)))
    assert ranks == pytest.approx([-4.0, -(1 + 2.5) / 2, -(2 + 1) / 2, -(3 + 2.5) / 2])


def test_a_gain_within_the_noise_is_not_blown_up() -> None:
    flat = [candidate(0, 0.5, {"home": 0.400}), candidate(100, 0.6, {"home": 0.401})]
    assert scores(select(flat, config(tolerance=1.0)))[1] == pytest.approx(0.001 / 0.02)


def test_the_tolerance_keeps_out_what_is_weak_in_domain() -> None:
    selection = select(FORGETTING, config(tolerance=0.03))
    assert [entry.eligible for entry in selection.candidates] == [True, False, True, True]
    assert step(selection) == 200


def test_the_start_may_win() -> None:
    worse = [candidate(0, 0.3, {"home": 0.5}), candidate(100, 0.31, {"home": 0.4})]
    selection = select(worse, config())
    assert not selection.won
    assert selection.winner == "base-model"
    assert "beats the base model" in selection.reason


def test_what_a_warm_start_came_from_may_win_too() -> None:
    warm = [
        candidate(0, 0.60, {"home": 0.40}),
        changed(candidate(0, 0.58, {"home": 0.40}, loss=None), name="original-base-model", kind="original-base-model"),
    ]
    tuned = candidate(100, 0.62, {"home": 0.35})
    assert select([*warm, tuned], config()).winner == "base-model"  # as good as the other, and in use
    better = replace(warm[1], out_of_domain={"home": Score(0.5, 0.02, 0)})
    selection = select([warm[0], better, tuned], config())
    assert (selection.winner, selection.won) == ("original-base-model", True)
    assert select([warm[0], better, tuned], config("in_domain_loss")).winner == "base-model"


def test_without_an_outside_dataset_it_says_so_loudly() -> None:
    alone = [candidate(0, 0.3, {}), candidate(100, 0.6, {})]
    selection = select(alone, config())
    assert step(selection) == 100
    assert "in domain only" in (selection.warning or "")


def test_a_candidate_that_is_not_finite_is_never_chosen() -> None:
    broken = [*FORGETTING[:2], candidate(400, 0.99, {"home": 0.9, "grey": 0.9}, loss=None, broken=3)]
    for rule in ("mean_normalised_gain", "in_domain_metric", "last", "in_domain_loss"):
        assert step(select(broken, config(rule))) != 400
    with pytest.raises(UserError, match="base model itself"):
        select([candidate(0, 0.1, {}, broken=1)], config())


def test_ties_go_to_the_earliest() -> None:
    tied = [candidate(0, 0.3, {"home": 0.4}), *(candidate(at, 0.6, {"home": 0.5}) for at in (300, 100, 200))]
    assert step(select(tied, config())) == 100


def test_the_result_is_read_as_it_was_written_and_json_has_no_number_that_is_none(tmp_path: Path) -> None:
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
def test_a_file_that_is_no_result_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "selection.json"
    path.write_text(text)
    with pytest.raises(UserError, match="is not the result of a selection"):
        read_selection(path)
    with pytest.raises(UserError, match=r"nothing\.json is missing"):
        read_selection(tmp_path / "nothing.json")


def test_no_start_is_a_clear_error() -> None:
    with pytest.raises(UserError, match="no base-model"):
        select(FORGETTING[1:], config())
    with pytest.raises(ValueError, match="rule must be one of"):
        config("best")


def test_a_ruined_candidate_does_not_change_the_gains_of_others() -> None:
    broken = candidate(400, 0.99, {"home": 0.9, "grey": 0.9}, loss=None, broken=3)
    assert scores(select([*FORGETTING, broken], config()))[:4] == scores(select(FORGETTING, config()))


def test_without_an_in_domain_select_split_the_tolerance_is_said_not_to_hold() -> None:
    blind = [replace(candidate(at, 0.0, {"home": 0.4 + at / 1000}), in_domain={}) for at in (0, 100)]
    selection = select(blind, config(tolerance=0.0))
    assert step(selection) == 100
    assert "tolerance cannot be held" in (selection.warning or "")


def test_every_rule_chooses_among_the_same_eligible() -> None:
    collapsed = [*FORGETTING, candidate(400, 0.2, {"home": 0.3, "grey": 0.3}, loss=0.5)]
    selection = select(collapsed, config())
    assert selection.choices["last"] == selection.choices["in_domain_loss"] == "step-000300"


def test_a_seeded_fine_tuning_where_rules_differ() -> None:
    """Scores drawn as a fine-tuning makes them: up in domain, up and then down outside, each with its noise."""
    random = np.random.default_rng(0)
    steps = np.arange(0, 700, 100)
    in_domain = 0.1 + 0.65 * (1 - np.exp(-steps / 120)) + random.normal(0, 0.005, len(steps))
    home = 0.37 + 0.10 * (1 - np.exp(-steps / 50)) - 0.02 * steps / 100 + random.normal(0, 0.005, len(steps))
    candidates = [
        candidate(int(at), float(inside), {"home": float(outside)}, loss=float(4 - 5 * inside))
        for at, inside, outside in zip(steps, in_domain, home, strict=True)
    ]
    selection = select(candidates, config(tolerance=0.15))
    chosen = {rule: int(name.removeprefix("step-")) for rule, name in selection.choices.items()}
    assert chosen["mean_normalised_gain"] < chosen["in_domain_loss"]
    assert home[chosen["mean_normalised_gain"] // 100] > home[chosen["in_domain_loss"] // 100]


def drawn(at: int, in_domain: float, outside: float, noise: float, *, far: float | None = None) -> ScoredCandidate:
    """A candidate with 400 resamples: everything moves together by 0.1, and itself by `noise`."""
    together = np.random.default_rng(0).normal(0, 0.1, 400)
    own = np.random.default_rng(at + 1).normal(0, noise, 400)
    made = changed(candidate(at, in_domain, {}), distance=at / 100 if far is None else far)
    return replace(
        made,
        in_domain={"shop": Score(in_domain, 0.01, 500, np.full(400, in_domain))},
        out_of_domain={"home": Score(outside, 0.1, 500, outside + together + own)},
    )


def with_ties(confidence: float | None, tolerance: float = 1.0) -> SelectConfig:
    return SelectConfig(rule="mean_score", in_domain_tolerance=tolerance, tie_confidence=confidence)


def test_of_near_ties_the_nearest_to_the_start_wins() -> None:
    pool = [drawn(0, 0.2, 0.30, 0.001), drawn(100, 0.6, 0.499, 0.01), drawn(300, 0.7, 0.50, 0.01)]
    plain = select(pool, with_ties(None))
    assert (step(plain), plain.near_ties) == (300, ("step-000300",))
    selection = select(pool, with_ties(0.9))
    assert (selection.best, step(selection)) == ("step-000300", 100)
    assert selection.near_ties == ("step-000100", "step-000300")
    assert "nearest the base model" in selection.reason
    assert step(select(pool, with_ties(0.9, 0.05))) == 300, "the other is too weak in domain"
    assert step(select([*pool[:2], changed(pool[2], distance=0.5)], with_ties(0.9))) == 300, "it is the nearest"


def test_what_is_surely_better_is_no_tie_though_both_are_uncertain() -> None:
    # Either score has a standard error of .1, but they move together: the difference of .03 is sure.
    pool = [drawn(0, 0.2, 0.30, 0.001), drawn(100, 0.6, 0.47, 0.001), drawn(300, 0.7, 0.50, 0.001)]
    assert step(select(pool, with_ties(0.95))) == 300


def test_a_gain_that_may_be_chance_leaves_the_start_where_it_is_as_good_in_domain() -> None:
    pool = [drawn(0, 0.68, 0.499, 0.01), drawn(100, 0.7, 0.50, 0.01)]
    selection = select(pool, with_ties(0.9))
    assert not selection.won
    assert "may be chance" in selection.reason
    weak = [replace(pool[0], in_domain={"shop": Score(0.1, 0.01, 500, np.full(400, 0.1))}), pool[1]]
    assert step(select(weak, with_ties(0.9, 0.05))) == 100, "what fine-tuning won in domain is not given up"


def test_rules_that_read_no_items_have_no_near_ties() -> None:
    pool = [drawn(0, 0.2, 0.30, 0.001), drawn(100, 0.6, 0.499, 0.01), drawn(300, 0.7, 0.50, 0.01)]
    config = SelectConfig(rule="last", in_domain_tolerance=1.0, tie_confidence=0.95)
    assert step(select(pool, config)) == 300


def test_an_average_is_no_last_checkpoint() -> None:
    average = soup(0.8)
    selection = select([*FORGETTING, average], config(tolerance=1.0))
    assert selection.choices["last"] == "step-000300"
    assert selection.choices["in_domain_loss"] == "step-000300"
    assert selection.winner == "soup"


def test_label_free_rules_read_what_was_measured_without_labels() -> None:
    def measured(one: ScoredCandidate, margin: float, alignment: float, uniformity: float) -> ScoredCandidate:
        own = {"margin": margin, "alignment": alignment, "uniformity": uniformity}
        return replace(one, label_free={"home": own})

    pool = [
        measured(FORGETTING[0], 0.1, 1.8, 0.9),
        measured(FORGETTING[1], 0.3, 1.2, 0.5),
        measured(FORGETTING[2], 0.5, 1.4, 0.3),
        measured(FORGETTING[3], 0.4, 1.0, 0.4),
    ]
    chosen = {rule: step(select(pool, config(rule, 1.0))) for rule in ("margin", "alignment")}
    assert chosen == {"margin": 200, "alignment": 300}
    assert "margin" not in select(FORGETTING, config()).choices
    with pytest.raises(UserError, match=r"select.rule margin reads what a protocol of the kind label-free measures"):
        select(FORGETTING, config("margin"))


def test_bad_pools_are_said() -> None:
    alone = select(FORGETTING[:1], config())
    assert (alone.won, alone.winner) == (False, "base-model")
    assert "nothing to choose from" in (alone.warning or "")
    ruined = [FORGETTING[0], *(replace(each, num_nonfinite=3) for each in FORGETTING[1:])]
    selection = select(ruined, config())
    assert not selection.won
    assert "every candidate that training left gives features that are not finite" in (selection.warning or "")
    no_out_of_domain = select([replace(each, out_of_domain={}) for each in FORGETTING], config())
    assert "model card of FashionCLIP warns" in (no_out_of_domain.warning or "")
    few = [
        replace(each, out_of_domain={"home": Score(each.out_of_domain["home"].value, 0.14, 12)}) for each in FORGETTING
    ]
    assert "home selects by 12 items: a difference of less than 0.29 there may be chance" in (
        select(few, config()).warning or ""
    )


def test_a_start_that_is_weak_in_domain_wins_only_where_more_is_lost_than_was_won_there() -> None:
    # Trained from nothing: on two datasets it stays chance, a little below the base model's; a third it learns.
    scratch = [
        candidate(0, 0.01, {"home": 0.06, "grey": 0.10, "types": 0.05}),
        candidate(100, 0.40, {"home": 0.05, "grey": 0.11, "types": 0.20}),
        candidate(200, 0.60, {"home": 0.03, "grey": 0.09, "types": 0.40}),
    ]
    selection = select(scratch, config())
    assert scores(selection)[2] == pytest.approx((-1 - 0.5 + 1) / 3)
    assert step(selection) == 200, "with the gain of 1 in domain it is above the base model"
    assert "worse than the base model, which what was won in domain outweighs" in selection.reason
    assert "worse than the base model" not in select(FORGETTING, config()).reason
    assert step(select(scratch, config("mean_score"))) == 200
    without = [
        replace(each, out_of_domain={name: each.out_of_domain[name] for name in ("home", "grey")}) for each in scratch
    ]
    selection = select(without, config())
    assert (selection.won, selection.winner) == (False, "base-model")
    assert "beats the base model by mean normalised gain, what is in domain counted in" in selection.reason
    as_good = replace(without[0], in_domain={"shop": Score(0.59, 0.01, 0)})
    assert "counted in" not in select([as_good, *without[1:]], config()).reason, "it is eligible itself"


def test_a_rule_that_does_not_know_averages_is_held_to_the_best_of_those_that_it_knows() -> None:
    average = soup(0.9)
    choices = select([*FORGETTING, average], config(tolerance=0.01)).choices
    assert choices["in_domain_loss"] == choices["last"] == "step-000300"
    assert choices["in_domain_metric"] == "soup"

"""Selection: what each rule chooses, who is eligible, and what is said."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fclip.errors import UserError
from fclip.selection.candidates import Candidate, Score
from fclip.selection.config import SelectConfig
from fclip.selection.select import as_json, select


def candidate(
    step: int, in_domain: float, outside: dict[str, float], *, loss: float | None = 1.0, broken: int = 0
) -> Candidate:
    return Candidate(
        name="start" if step == 0 else f"step-{step:06d}",
        step=step,
        model_sha256=f"{step:064d}",
        in_domain={"shop": Score(in_domain, 0.01)},
        outside={name: Score(value, 0.02) for name, value in outside.items()},
        val_loss=loss,
        num_nonfinite=broken,
    )


def config(rule: str = "mean_normalised_gain", tolerance: float = 0.05) -> SelectConfig:
    return SelectConfig(rule=rule, in_domain_tolerance=tolerance)


# In domain each pass is better; outside the first is the best: the case of the FashionCLIP card.
FORGETTING = [
    candidate(0, 0.10, {"home": 0.37, "grey": 0.26}, loss=4.0),
    candidate(100, 0.70, {"home": 0.46, "grey": 0.59}, loss=1.2),
    candidate(200, 0.72, {"home": 0.41, "grey": 0.60}, loss=1.0),
    candidate(300, 0.74, {"home": 0.39, "grey": 0.59}, loss=0.9),
]


def test_two_rules_choose_differently() -> None:
    selection = select(FORGETTING, config())
    assert selection.winner.step == 100
    assert selection.choices["in_domain_loss"] == "step-000300"
    assert selection.choices["mean_normalised_gain"] == "step-000100"
    assert select(FORGETTING, config("in_domain_loss")).winner.step == 300


def test_the_gain_is_the_formula() -> None:
    selection = select(FORGETTING, config())
    expected = ((0.46 - 0.37) / (0.46 - 0.37) + (0.59 - 0.26) / (0.60 - 0.26)) / 2
    assert selection.scores[1] == pytest.approx(expected)


def test_a_loss_counts_as_much_as_what_could_be_won_and_no_more() -> None:
    ruined = [*FORGETTING, candidate(400, 0.75, {"home": 0.0, "grey": 0.60})]
    assert select(ruined, config(tolerance=1.0)).scores[4] == pytest.approx((-1 + 1) / 2)
    assert select(ruined, config("worst_gain", 1.0)).scores[4] == -1


def test_means_of_scores_and_ranks() -> None:
    scores = select(FORGETTING, config("mean_score", 1.0)).scores
    assert scores == pytest.approx([(0.37 + 0.26) / 2, (0.46 + 0.59) / 2, (0.41 + 0.60) / 2, (0.39 + 0.59) / 2])
    ranks = select(FORGETTING, config("mean_rank", 1.0)).scores
    assert ranks == pytest.approx([-4.0, -(1 + 2.5) / 2, -(2 + 1) / 2, -(3 + 2.5) / 2])


def test_a_gain_within_the_noise_is_not_blown_up() -> None:
    flat = [candidate(0, 0.5, {"home": 0.400}), candidate(100, 0.6, {"home": 0.401})]
    assert select(flat, config(tolerance=1.0)).scores[1] == pytest.approx(0.001 / 0.02)


def test_the_tolerance_keeps_out_what_is_weak_in_domain() -> None:
    selection = select(FORGETTING, config(tolerance=0.03))
    assert selection.eligible == (True, False, True, True)
    assert selection.winner.step == 200


def test_the_start_may_win() -> None:
    worse = [candidate(0, 0.3, {"home": 0.5}), candidate(100, 0.31, {"home": 0.4})]
    selection = select(worse, config())
    assert not selection.won
    assert selection.winner.name == "start"
    assert "beats the start" in selection.reason


def test_what_a_warm_start_came_from_may_win_too() -> None:
    warm = [candidate(0, 0.60, {"home": 0.40}), replace(candidate(0, 0.58, {"home": 0.40}, loss=None), name="untuned")]
    tuned = candidate(100, 0.62, {"home": 0.35})
    assert select([*warm, tuned], config()).winner.name == "start"  # as good as the other, and in use
    better = replace(warm[1], outside={"home": Score(0.5, 0.02)})
    selection = select([warm[0], better, tuned], config())
    assert (selection.winner.name, selection.won) == ("untuned", True)
    assert select([warm[0], better, tuned], config("in_domain_loss")).winner.name == "start"


def test_without_an_outside_dataset_it_says_so_loudly() -> None:
    alone = [candidate(0, 0.3, {}), candidate(100, 0.6, {})]
    selection = select(alone, config())
    assert selection.winner.step == 100
    assert "in domain only" in (selection.warning or "")


def test_a_candidate_that_is_not_finite_is_never_chosen() -> None:
    broken = [*FORGETTING[:2], candidate(400, 0.99, {"home": 0.9, "grey": 0.9}, loss=None, broken=3)]
    for rule in ("mean_normalised_gain", "in_domain_metric", "last", "in_domain_loss"):
        assert select(broken, config(rule)).winner.step != 400
    with pytest.raises(UserError, match="start itself"):
        select([candidate(0, 0.1, {}, broken=1)], config())


def test_ties_go_to_the_earliest() -> None:
    tied = [candidate(0, 0.3, {"home": 0.4}), *(candidate(step, 0.6, {"home": 0.5}) for step in (300, 100, 200))]
    assert select(tied, config()).winner.step == 100


def test_json_has_no_number_that_is_none() -> None:
    broken = [*FORGETTING, candidate(400, 0.2, {"home": 0.1, "grey": 0.1}, loss=None)]
    text = json.dumps(as_json(select(broken, config("in_domain_loss"))), allow_nan=False)
    assert json.loads(text)["candidates"][-1]["score"] is None


def test_no_start_is_a_clear_error() -> None:
    with pytest.raises(UserError, match="no start"):
        select(FORGETTING[1:], config())
    with pytest.raises(ValueError, match="rule must be one of"):
        config("best")


def test_a_ruined_candidate_does_not_change_the_gains_of_others() -> None:
    broken = candidate(400, 0.99, {"home": 0.9, "grey": 0.9}, loss=None, broken=3)
    assert select([*FORGETTING, broken], config()).scores[:4] == select(FORGETTING, config()).scores


def test_without_an_in_domain_select_split_the_tolerance_is_said_not_to_hold() -> None:
    blind = [replace(candidate(step, 0.0, {"home": 0.4 + step / 1000}), in_domain={}) for step in (0, 100)]
    selection = select(blind, config(tolerance=0.0))
    assert selection.winner.step == 100
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
        candidate(int(step), float(inside), {"home": float(outside)}, loss=float(4 - 5 * inside))
        for step, inside, outside in zip(steps, in_domain, home, strict=True)
    ]
    selection = select(candidates, config(tolerance=0.15))
    chosen = {rule: int(name.removeprefix("step-")) for rule, name in selection.choices.items()}
    assert chosen["mean_normalised_gain"] < chosen["in_domain_loss"]
    assert home[chosen["mean_normalised_gain"] // 100] > home[chosen["in_domain_loss"] // 100]

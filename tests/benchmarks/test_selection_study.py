"""What rules are worth on tables of scores: by hand on a small one, and the public one of model soups."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.selection.frontier import draw_frontier
from benchmarks.selection.regret import ALL, TRAINED, Regret, RuleChoice, RuleSetting, choices, study, summarise
from benchmarks.selection.run_table import read_run, write_run
from benchmarks.selection.score_table import read_scores
from benchmarks.selection.study import app
from benchmarks.selection.tables import usual_choices
from benchmarks.selection.trade_off import draw_trade_off
from fclip.errors import UserError
from fclip.models.candidates import Candidate
from fclip.selection.candidates import Score, ScoredCandidate
from tests.conftest import dataset

SHIFTS = ("ImageNetV2", "ImageNetSketch", "ImageNetR", "ObjectNet", "ImageNetA")


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return path


def row(name: str, inside: float, a: float, b: float) -> dict[str, object]:
    return {"model_name": name, "in": inside, "a": a, "b": b}


def found_by(found: list[Regret], rule: str, size: int, tolerance: float = math.inf) -> Regret:
    return next(e for e in found if e.setting == RuleSetting(rule, ALL, size, tolerance))


def test_regret_and_cost_by_hand(tmp_path: Path) -> None:
    rows = [row("base-model", 0.1, 0.3, 0.3), row("early", 0.6, 0.6, 0.7), row("late", 0.8, 0.5, 0.4)]
    scores = read_scores([write(tmp_path / "t.jsonl", rows)], base_model="base-model", in_domain="in", cost="in")
    found = study([scores], [math.inf, 0.1])
    inside = found_by(found, "in_domain_metric", 0)  # chooses late: loses .1 on a, .3 on b, nothing in domain
    assert (inside.regret, inside.in_domain_cost, inside.num_choices) == (pytest.approx(0.2), 0.0, 2)
    gain = found_by(found, "mean_normalised_gain", 1)  # either way early
    assert (gain.regret, gain.in_domain_cost) == (pytest.approx(0.0), pytest.approx(0.2))
    held = found_by(found, "mean_normalised_gain", 1, 0.1)  # early is too weak in domain
    assert (held.regret, held.in_domain_cost) == (pytest.approx(0.2), 0.0)
    base_model = found_by(found, "base-model", 0)
    assert (base_model.regret, base_model.in_domain_cost) == (pytest.approx(0.35), pytest.approx(0.7))
    hindsight = found_by(found, "hindsight", 0)  # early: the best mean of both
    assert (hindsight.regret, hindsight.in_domain_cost) == (pytest.approx(0.0), pytest.approx(0.2))
    held = found_by(found, "hindsight", 0, 0.1)  # late
    assert (held.regret, held.in_domain_cost) == (pytest.approx(0.2), 0.0)
    random = found_by(found, "random", 0)
    assert random.regret == pytest.approx((0.3 + 0 + 0.1 + 0.4 + 0 + 0.3) / 6)


def test_the_trade_off_is_drawn(tmp_path: Path) -> None:
    rows = [row("base-model", 0.1, 0.3, 0.3), row("early", 0.6, 0.6, 0.7), row("late", 0.8, 0.5, 0.4)]
    scores = read_scores([write(tmp_path / "t.jsonl", rows)], base_model="base-model", in_domain="in", cost="in")
    drawn = draw_trade_off(study([scores], [math.inf, 0.1]), tmp_path / "plot.svg").read_text()
    assert "<svg" in drawn
    with pytest.raises(UserError, match=r"must end in \.png or \.svg"):
        draw_trade_off([], tmp_path / "plot.txt")


@pytest.mark.parametrize(
    ("rule", "size", "tolerance", "soups", "regret", "cost"),
    [
        ("in_domain_metric", 0, math.inf, False, 3.42, 0.0),
        ("mean_normalised_gain", 2, math.inf, False, 1.54, 2.43),
        ("mean_normalised_gain", 3, math.inf, False, 1.00, 2.45),
        ("mean_normalised_gain", 4, math.inf, False, 0.71, 2.28),
        ("mean_normalised_gain", 4, 0.01, False, 2.64, 0.63),
        ("mean_normalised_gain", 4, math.inf, True, 0.96, 1.05),
        ("mean_rank", 2, math.inf, False, 2.25, 2.02),
    ],
)
def test_the_public_table_of_model_soups(
    rule: str, size: int, tolerance: float, soups: bool, regret: float, cost: float
) -> None:
    """71 fine-tuned CLIPs and their start (Wortsman et al. 2022), each of five shifts held out in turn."""
    folder = dataset("model_soups")
    names = ["individual_model_results", *(["uniform_soup_results", "greedy_soup_results"] if soups else [])]
    scores = read_scores(
        [folder / f"{name}.jsonl" for name in names], base_model="model_0", in_domain="ImageNet2p", cost="ImageNet"
    )
    assert scores.out_of_domain == SHIFTS
    found = found_by(study([scores], [tolerance]), rule, size, tolerance)
    assert 100 * found.regret == pytest.approx(regret, abs=0.005)
    assert 100 * found.in_domain_cost == pytest.approx(cost, abs=0.005)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "contains no model"),
        ([{"name": "base-model"}], 'line 1: expected an object with "model_name"'),
        ([row("base-model", 0.1, 0.3, 0.3), row("base-model", 0.1, 0.3, 0.3)], "base-model has more than one row"),
        ([row("other", 0.1, 0.3, 0.3)], "no model `base-model` for --base-model; the models are other"),
        ([row("base-model", 0.1, 0.3, math.nan)], "base-model: the score on b must be a number, not nan"),
        (
            [row("base-model", 0.1, 0.3, 0.3), {"model_name": "x", "in": 0.2, "a": 0.3}],
            "x: the score on b must be a number",
        ),
        ([{"model_name": "base-model", "in": 0.2, "a": 0.3}], "only 1 out-of-domain datasets; at least two are needed"),
        ([{"model_name": "base-model", "a": 0.3, "b": 0.3}], "has no dataset `in`; its datasets are a, b"),
    ],
)
def test_what_is_no_table_is_said(tmp_path: Path, rows: list[dict[str, object]], said: str) -> None:
    with pytest.raises(UserError) as error:
        read_scores([write(tmp_path / "t.jsonl", rows)], base_model="base-model", in_domain="in", cost="in")
    assert said in str(error.value)


def candidate(
    name: str, values: dict[str, float], *, loss: float | None = None, average: bool = False
) -> ScoredCandidate:
    step = 0 if name == "base-model" else int(name.partition("-")[2] or 0)
    scores = {dataset: Score(value, 0.01, 100, np.full(5, value)) for dataset, value in values.items()}
    return ScoredCandidate(
        Candidate(
            name=name,
            kind="soup" if average else "checkpoint" if step else "base",
            step=step,
            epoch=0.0,
            model_sha256=name,
            val_loss=loss,
            parents={"early-1": 0.5, "late-2": 0.5} if average else {},
            distance=float(step),
        ),
        in_domain={"in": scores.pop("in")},
        out_of_domain=scores,
    )


def run() -> tuple[list[ScoredCandidate], dict[str, np.ndarray]]:
    candidates = [
        candidate("base-model", {"in": 0.1, "a": 0.3, "b": 0.3}, loss=4.0),
        candidate("early-1", {"in": 0.6, "a": 0.6, "b": 0.7}, loss=2.0),
        candidate("late-2", {"in": 0.8, "a": 0.5, "b": 0.4}, loss=1.0),
        candidate("soup-2", {"in": 0.8, "a": 0.6, "b": 0.6}, average=True),
    ]
    halves = {
        "in": np.array([[0.1, 0.1], [0.6, 0.6], [0.8, 0.8], [0.8, 0.8]]),
        "a": np.array([[0.3, 0.3], [0.7, 0.5], [0.5, 0.5], [0.6, 0.6]]),  # the best of one half is not of the other
        "b": np.array([[0.3, 0.3], [0.7, 0.7], [0.4, 0.4], [0.6, 0.7]]),
    }
    return candidates, halves


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    candidates, halves = run()
    write_run(candidates, halves, tmp_path / "full-0.parquet")
    table = read_run(tmp_path / "full-0.parquet")
    assert table.name == "full-0"
    assert table.out_of_domain == ("a", "b")
    for before, after in zip(candidates, table.candidates, strict=True):
        own, read = before.candidate, after.candidate
        assert (read.name, read.step, read.val_loss, read.distance, read.is_average) == (
            own.name, own.step, own.val_loss, own.distance, own.is_average,
        )  # fmt: skip
        assert after.in_domain_score == pytest.approx(before.in_domain_score)
        assert after.out_of_domain["b"].draws == pytest.approx(before.out_of_domain["b"].draws, abs=1e-3)
    assert table.halves["a"] == pytest.approx(halves["a"])
    assert table.cost == pytest.approx(halves["in"])
    with pytest.raises(UserError, match="is not the table of a run"):
        read_run(tmp_path / "nothing.parquet")


def test_every_metric_that_is_held_in_domain_has_a_cost(tmp_path: Path) -> None:
    candidates, halves = run()
    recalls = {"base-model": 0.125, "early-1": 0.5, "late-2": 0.375, "soup-2": 0.5}
    held = [
        replace(each, more_held={"in.recall": Score(recalls[each.name], 0.0, 10, np.full(5, recalls[each.name]))})
        for each in candidates
    ]
    halves["in.recall"] = np.array([[value, value] for value in recalls.values()])
    write_run(held, halves, tmp_path / "full-0.parquet")
    table = read_run(tmp_path / "full-0.parquet")
    assert table.out_of_domain == ("a", "b")
    assert [dict(each.more_held) for each in table.candidates] == [dict(each.more_held) for each in held]
    found = list(choices([table], [0.2], [], with_subsets=False))
    last = next(one for one in found if one.setting == RuleSetting("last", TRAINED, 0, 0.2))
    assert (last.in_domain_cost, *last.more_costs) == pytest.approx((0.0, 0.125))
    with pytest.raises(UserError, match=r"must end in \.png or \.svg"):
        draw_frontier(found, tmp_path / "frontier.txt")
    picture = draw_frontier(usual_choices([table]), tmp_path / "frontier.svg").read_text()
    assert "cost in recall, points" in picture


def test_the_oracle_is_chosen_on_one_half_and_scored_on_the_other(tmp_path: Path) -> None:
    candidates, halves = run()
    write_run(candidates, halves, tmp_path / "full-0.parquet")
    table = read_run(tmp_path / "full-0.parquet")
    found = [one for one in choices([table], [math.inf], []) if one.setting.pool == ALL]
    # Held out: a, chosen by b: early. On a's first half early is best (.7), and has .5 on the second, as itself; on the
    # second half the soup is best (.6), and has .6 on the first, where early has .7: 0 and −.1.
    gain = next(one for one in found if (one.setting.rule, one.held_out) == ("mean_normalised_gain", "a"))
    assert (gain.regret, gain.in_domain_cost) == (pytest.approx(-0.05), pytest.approx(0.2))
    loss = next(one for one in found if (one.setting.rule, one.held_out) == ("in_domain_loss", "b"))
    assert (loss.regret, loss.in_domain_cost) == (pytest.approx(0.3), pytest.approx(0.0))
    # In hindsight: by the first halves early (means .7 and .6), by the second the soup (.6 and .65).
    hindsight = next(one for one in found if (one.setting.rule, one.held_out) == ("hindsight", "b"))
    assert (hindsight.regret, hindsight.in_domain_cost) == (pytest.approx(0.05), pytest.approx(0.1))
    last = next(one for one in found if (one.setting.rule, one.held_out) == ("last", "b"))
    assert last.regret == pytest.approx(0.3), "an average is not what training ended with"


def test_without_averages_a_rule_chooses_among_what_training_left(tmp_path: Path) -> None:
    candidates, halves = run()
    write_run(candidates, halves, tmp_path / "full-0.parquet")
    found = list(choices([read_run(tmp_path / "full-0.parquet")], [0.05], []))
    wanted = ("mean_normalised_gain", "b")
    by_pool = {one.setting.pool: one for one in found if (one.setting.rule, one.held_out) == wanted}
    assert by_pool[ALL].regret == pytest.approx(0.05)  # the soup
    assert by_pool[TRAINED].regret == pytest.approx(0.3)  # late: early is too weak in domain


def test_clusters_are_datasets_and_runs() -> None:
    def one(run: str, held: str, regret: float) -> RuleChoice:
        return RuleChoice(RuleSetting("last"), run, held, regret, 0.01)

    same = summarise([one("r", "a", 0.1), one("r", "a", 0.3)])[0]
    assert (same.regret, same.low, same.high) == (pytest.approx(0.2),) * 3, "one cluster has no spread"
    spread = summarise([one(run, held, 0.1 * number) for number, run in enumerate("pqrs") for held in "ab"])[0]
    assert spread.low < spread.regret < spread.high
    assert spread.num_choices == 8


def test_the_command_says_what_it_needs(tmp_path: Path) -> None:
    candidates, halves = run()
    write_run(candidates, halves, tmp_path / "full-0.parquet")
    arguments = ["--table", str(tmp_path / "full-0.parquet"), "--out", str(tmp_path / "out.json")]
    said = CliRunner().invoke(app, arguments)
    assert said.exit_code == 0, said.output
    assert "4 models, held out in turn: a, b" in said.output
    rows = json.loads((tmp_path / "out.json").read_text())
    usual = next(one for one in rows if (one["rule"], one["pool"]) == ("in_domain_loss", TRAINED))
    assert all(one["ratio"] == pytest.approx(one["regret"] / usual["regret"]) for one in rows)
    assert usual["ratio"] == 1
    lines = write(tmp_path / "t.jsonl", [row("base-model", 0.1, 0.3, 0.3)])
    for arguments in (["--table", str(lines)], ["--table", str(lines), "--table", str(tmp_path / "full-0.parquet")]):
        refused = CliRunner().invoke(app, arguments)
        assert isinstance(refused.exception, UserError)

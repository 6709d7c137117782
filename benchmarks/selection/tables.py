"""Print the tables of docs/selection-study.md as Markdown, from the runs in benchmarks/selection/runs.

Runs that hold one metric in domain (in the subfolder `one-metric`) and runs that hold two have tables of their own. The
subfolders `line-search` and `tower-search` have the latter again, with the candidates of one averaging method each, and
runs of regimes that are compared as training.

python -m benchmarks.selection.tables
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.selection.regret import (
    ALL,
    BASE_MODEL,
    HINDSIGHT,
    RANDOM,
    TRAINED,
    USUAL_TIES,
    RuleChoice,
    RuleSetting,
    ScoreTable,
    choices,
    rule_label,
    summarise,
)
from benchmarks.selection.run_table import read_run
from fclip.selection.config import SelectConfig
from fclip.selection.rules.registry import rules
from fclip.selection.select import select

RUNS = Path(__file__).with_name("runs")
METHODS = ("line-search", "tower-search")
"""Averaging methods whose candidates, with the soup, were scored for every run that holds two metrics."""
REGIMES, SEEDS = ("full", "full-grounds", "held", "held-fast"), (2, 3)
"""What is compared as training, with the candidates of the tower search."""
SHOWN_TOLERANCES = (0.01, 0.02, 0.03)
PHOTOGRAPHS = ("clothing", "fmnist")
TOLERANCES = (math.inf, 0.05, 0.03, 0.02, 0.015, 0.01, 0.005, 0.0)
SETTINGS = {
    "base-model": RuleSetting(BASE_MODEL),
    "random": RuleSetting(RANDOM),
    "last": RuleSetting("last", TRAINED),
    "in-domain loss": RuleSetting("in_domain_loss", TRAINED),
    "in-domain metric, checkpoints": RuleSetting("in_domain_metric", TRAINED),
    "in-domain metric, with averages": RuleSetting("in_domain_metric"),
    **{
        f"nearest, within {100 * tolerance:g}": RuleSetting("nearest_to_base", tolerance=tolerance)
        for tolerance in (0.005, 0.01, 0.015, 0.02, 0.03)
    },
    "normalised gain with ties, within 1": RuleSetting("mean_normalised_gain", ALL, 4, 0.01, USUAL_TIES),
    "normalised gain with ties, within 2": RuleSetting("mean_normalised_gain", ALL, 4, 0.02, USUAL_TIES),
    "normalised gain with ties, within 5": RuleSetting("mean_normalised_gain", ALL, 4, 0.05, USUAL_TIES),
    "mean rank with ties, within 2": RuleSetting("mean_rank", ALL, 4, 0.02, USUAL_TIES),
    "alignment, without labels, within 2": RuleSetting("alignment", ALL, 4, 0.02),
    "margin, without labels, within 1": RuleSetting("margin", ALL, 4, 0.01),
    "hindsight, within 1": RuleSetting(HINDSIGHT, tolerance=0.01),
    "hindsight": RuleSetting(HINDSIGHT),
}


def main() -> None:
    print("\n\n".join(markdown()))


def markdown() -> tuple[str, ...]:
    """Return the tables of the runs that hold one metric, and those of the runs that hold two.

    The first are every rule by tolerance, and selected settings by held-out dataset and by regime. The others are
    selected settings by held-out dataset, with each cost, and the scores of what `nearest_to_base` selects: by the
    metrics that are held, by the averaging method, and by the regime.
    """
    named = _read(RUNS)
    runs = list(named.values())
    by_method = {method: _read(RUNS / method) for method in METHODS}
    searched = by_method["tower-search"]
    one, two = usual_choices(list(_read(RUNS / "one-metric").values())), usual_choices(runs)
    alone = [_without_more_held(table) for table in runs]
    return (
        regret_by_tolerance(one),
        regret_by_part(one, lambda choice: choice.held_out),
        regret_by_part(one, lambda c: c.run.rpartition("-")[0]),
        regret_by_part(two, lambda choice: choice.held_out),
        selected_scores(
            "held", {"accuracy": list(zip(runs, alone, strict=True)), "both": [(table, table) for table in runs]}
        ),
        selected_scores(
            "averages", {method: [(tables[run],) * 2 for run in named] for method, tables in by_method.items()}
        ),
        selected_scores(
            "training", {regime: [(searched[f"{regime}-{seed}"],) * 2 for seed in SEEDS] for regime in REGIMES}
        ),
    )


def selected_scores(head: str, variants: Mapping[str, Sequence[tuple[ScoreTable, ScoreTable]]]) -> str:
    """Return a Markdown table of the mean scores, in percent, of the candidates that `nearest_to_base` selects.

    Args:
        head: what differs between variants.
        variants: name -> for each run, the table to report and the table that the rule reads.
    """
    rows = []
    heads: list[str] = []
    for tolerance in SHOWN_TOLERANCES:
        for name, pairs in variants.items():
            found = [_scores_of_choice(shown, read, tolerance) for shown, read in pairs]
            heads = list(found[0])
            rows.append(
                [
                    f"{100 * tolerance:g}",
                    name,
                    *(f"{100 * np.mean([each[key] for each in found]):.1f}" for key in heads),
                ]
            )
    return _markdown(["within", head, *heads], rows, 2)


def _scores_of_choice(shown: ScoreTable, read: ScoreTable, tolerance: float) -> dict[str, float]:
    winner = select(read.candidates, SelectConfig(in_domain_tolerance=tolerance)).winner
    selected = next(each for each in shown.candidates if each.name == winner)
    held = dict(zip(("accuracy", "recall"), (score.value for score in selected.held.values()), strict=True))
    others = {name: score.value for name, score in sorted(selected.out_of_domain.items())}
    return held | others | {" and ".join(PHOTOGRAPHS): float(np.mean([others[name] for name in PHOTOGRAPHS]))}


def _without_more_held(table: ScoreTable) -> ScoreTable:
    return replace(table, candidates=tuple(replace(each, more_held={}) for each in table.candidates))


def _read(folder: Path) -> dict[str, ScoreTable]:
    return {path.stem: read_run(path) for path in sorted(folder.glob("*.parquet"))}


def usual_choices(tables: Sequence[ScoreTable]) -> list[RuleChoice]:
    """Return the choices of the rules that read no out-of-domain dataset, or all but the held-out one."""
    return list(choices(tables, TOLERANCES, [USUAL_TIES], with_subsets=False))


def regret_by_tolerance(all_choices: Sequence[RuleChoice]) -> str:
    """Return a Markdown table of every rule: regret (cost) at each tolerance."""
    heads = ["any" if math.isinf(tolerance) else f"{100 * tolerance:g}" for tolerance in TOLERANCES]
    rows: dict[tuple[str, str, str], list[str]] = {}
    for mean in summarise(all_choices):
        setting = mean.setting
        if setting.pool == TRAINED and setting.tie_confidence is not None:
            continue
        rule = rules().get(setting.rule)
        if setting.pool == ALL and rule is not None and (rule.needs_val_loss or rule.needs_steps):
            continue  # averages have neither a loss nor a step
        ties = "" if setting.tie_confidence is None else f"{setting.tie_confidence:g}"
        key = rule_label(setting.rule), setting.pool, ties
        rows.setdefault(key, []).append(f"{100 * mean.regret:.2f} ({100 * mean.in_domain_cost:.2f})")
    return _markdown(["rule", "among", "ties", *heads], ([*key, *cells] for key, cells in rows.items()), 3)


def regret_by_part(all_choices: Sequence[RuleChoice], part: Callable[[RuleChoice], str]) -> str:
    """Return a Markdown table of `SETTINGS`: the regret in each part, the mean regret with bounds, and each cost."""
    parts = sorted({part(choice) for choice in all_choices})
    rows = []
    for name, setting in SETTINGS.items():
        group = [choice for choice in all_choices if choice.setting == setting]
        means = [100 * float(np.mean([choice.regret for choice in group if part(choice) == each])) for each in parts]
        (whole,) = summarise(group)
        bounds = f"{100 * whole.regret:.2f} ({100 * whole.low:.1f} to {100 * whole.high:.1f})"
        costs = [whole.in_domain_cost, *np.mean([choice.more_costs for choice in group], axis=0)]
        rows.append([name, *(f"{mean:.1f}" for mean in means), bounds, *(f"{100 * cost:.2f}" for cost in costs)])
    num_more = len(all_choices[0].more_costs)
    return _markdown(["", *parts, "mean", "cost", *(["cost in recall"] * num_more)], rows, 1)


def _markdown(heads: Sequence[str], rows: Iterable[Sequence[str]], num_text_columns: int) -> str:
    separator = [*["---"] * num_text_columns, *["--:"] * (len(heads) - num_text_columns)]
    lines = [heads, separator, *([*row, *[""] * (len(heads) - len(row))] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()

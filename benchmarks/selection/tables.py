"""The tables of docs/selection-study.md, as Markdown, from the runs in benchmarks/selection/runs.

python -m benchmarks.selection.tables
"""

import math
from collections.abc import Callable, Iterable, Sequence
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
from fclip.selection.rules.registry import rules

RUNS = Path(__file__).with_name("runs")
TOLERANCES = (math.inf, 0.05, 0.03, 0.02, 0.01, 0.0)
SETTINGS = {
    "base-model": RuleSetting(BASE_MODEL),
    "random": RuleSetting(RANDOM),
    "last": RuleSetting("last", TRAINED),
    "in-domain loss": RuleSetting("in_domain_loss", TRAINED),
    "in-domain metric, checkpoints": RuleSetting("in_domain_metric", TRAINED),
    "in-domain metric, with averages": RuleSetting("in_domain_metric"),
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
    print("\n\n".join(markdown([read_run(path) for path in sorted(RUNS.glob("*.parquet"))])))


def markdown(tables: Sequence[ScoreTable]) -> tuple[str, str, str]:
    """Every rule by tolerance; some settings by held-out dataset, and by regime."""
    found = [
        one
        for one in choices(tables, TOLERANCES, [USUAL_TIES])
        if one.setting.num_datasets in (0, len(tables[0].out_of_domain) - 1)
    ]
    by_regime = regret_by_part(found, lambda one: one.run.rpartition("-")[0])
    return regret_by_tolerance(found), regret_by_part(found, lambda one: one.held), by_regime


def regret_by_tolerance(found: Sequence[RuleChoice]) -> str:
    """Every rule: regret (cost) at each tolerance."""
    heads = ["any" if math.isinf(tolerance) else f"{100 * tolerance:g}" for tolerance in TOLERANCES]
    rows: dict[tuple[str, str, str], list[str]] = {}
    for one in summarise(found):
        of = one.setting
        if of.pool == TRAINED and of.tie_confidence is not None:
            continue
        if of.pool == ALL and of.rule in rules() and (rules()[of.rule].needs_val_loss or rules()[of.rule].needs_steps):
            # averages have neither
            continue
        key = rule_label(of.rule), of.pool, "" if of.tie_confidence is None else f"{of.tie_confidence:g}"
        rows.setdefault(key, []).append(f"{100 * one.regret:.2f} ({100 * one.in_domain_cost:.2f})")
    return _markdown(["rule", "among", "ties", *heads], ([*key, *cells] for key, cells in rows.items()), 3)


def regret_by_part(found: Sequence[RuleChoice], part: Callable[[RuleChoice], str]) -> str:
    """Some settings: regret in each part, over all with its bounds, and the cost."""
    parts = sorted({part(one) for one in found})
    rows = []
    for name, setting in SETTINGS.items():
        own = [one for one in found if one.setting == setting]
        means = [100 * float(np.mean([one.regret for one in own if part(one) == each])) for each in parts]
        (whole,) = summarise(own)
        bounds = f"{100 * whole.regret:.2f} ({100 * whole.low:.1f} to {100 * whole.high:.1f})"
        rows.append([name, *(f"{mean:.1f}" for mean in means), bounds, f"{100 * whole.in_domain_cost:.2f}"])
    return _markdown(["", *parts, "mean", "cost"], rows, 1)


def _markdown(heads: Sequence[str], rows: Iterable[Sequence[str]], num_words: int) -> str:
    rule = [*["---"] * num_words, *["--:"] * (len(heads) - num_words)]
    lines = [heads, rule, *([*row, *[""] * (len(heads) - len(row))] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()

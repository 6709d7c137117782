"""The trade-off of a selection study as a picture: regret on unseen data against its cost in domain."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.selection.regret import (
    ALL,
    BASE_MODEL,
    HINDSIGHT,
    RANDOM,
    TRAINED,
    USUAL_TIES,
    Regret,
    RuleSetting,
    rule_label,
)
from fclip.errors import UserError
from fclip.files import atomic_path
from fclip.selection.rules.registry import rules

COLOURS = ("#0f6b6b", "#b4571e", "#7a3f8f", "#66728a")
BY_METRIC = "in_domain_metric"
MARKERS = {BASE_MODEL: "s", RANDOM: "D", "in_domain_loss": "X", BY_METRIC: "*", "last": "P"}
INK = "#1b1e22"
FAR = 0.8
"""Quantile of costs and regrets up to which is drawn: one rule far off would leave no room for the others."""


def draw_trade_off(found: Sequence[Regret], path: Path) -> Path:
    """Draw one line per rule through its tolerances, in one panel per number of datasets that rules read.

    Dotted: without averages among the candidates. Dashed: the nearest to the base model of those that the best does not
    beat with a confidence of `USUAL_TIES`. Black: hindsight. `start` or `random` far off the lines are given in words.

    Raises:
        UserError: `path` ends in neither .png nor .svg.
    """
    if path.suffix not in (".png", ".svg"):
        raise UserError(f"{path}: a plot's name must end in .png or .svg")
    drawn = [entry for entry in found if entry.setting.tie_confidence in (None, USUAL_TIES)]
    by_setting = {entry.setting: entry for entry in found}
    kinds = [kind for kind, rule in rules().items() if rule.reads_out_of_domain]
    of_rules = [entry for entry in drawn if entry.setting.rule in kinds]
    sizes = sorted({entry.setting.num_datasets for entry in of_rules})
    figure = Figure(figsize=(3.6 * len(sizes), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(sizes), sharex=True, sharey=True, squeeze=False)[0]
    right = 100 * float(np.quantile([entry.in_domain_cost for entry in of_rules], FAR)) + 1
    top = 100 * float(np.quantile([entry.regret for entry in of_rules], FAR)) + 1
    for axes, size in zip(panels, sizes, strict=True):
        for colour, rule in zip(cycle(COLOURS), kinds, strict=False):
            own = [entry for entry in drawn if (entry.setting.rule, entry.setting.num_datasets) == (rule, size)]
            for of in dict.fromkeys(replace(entry.setting, tolerance=0.0) for entry in own):
                if of.pool == ALL or of.tie_confidence is None:
                    style = ":" if of.pool != ALL else "-" if of.tie_confidence is None else "--"
                    line = [entry for entry in own if replace(entry.setting, tolerance=0.0) == of]
                    _line(axes, line, colour, style=style)
        _line(axes, [entry for entry in drawn if entry.setting.rule == HINDSIGHT], INK, style="-")
        for rule, marker in MARKERS.items():
            trained, mixed = by_setting.get(RuleSetting(rule, TRAINED)), by_setting.get(RuleSetting(rule))
            if baseline := trained or mixed:
                _baseline(axes, baseline, rule_label(rule), marker, right, top)
            if trained and mixed and rule == BY_METRIC:
                _baseline(axes, mixed, f"{rule_label(rule)} with averages", marker, right, top, hollow=True)
        axes.set_title(f"chosen by {size} outside dataset{'s' if size > 1 else ''}", fontsize=10)
        axes.set_xlabel("cost in domain, points")
        axes.grid(color="#e2e5e9", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlim(right=right)
        axes.set_ylim(0, top)
    panels[0].set_ylabel("regret on unseen data, points")
    handles, labels = panels[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)), frameon=False, fontsize=9)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix("."), dpi=130)
    return path


def _line(axes: Axes, own: Sequence[Regret], colour: str, *, style: str) -> None:
    points = [(100 * entry.in_domain_cost, 100 * entry.regret) for entry in own]
    solid = style == "-"
    axes.plot(*zip(*points, strict=True), color=colour, marker="o", markersize=4 if solid else 2.5,
              linewidth=1.4 if solid else 1.0, linestyle=style, alpha=0.85,
              label=rule_label(own[0].setting.rule) if solid else None)  # fmt: skip


def _baseline(
    axes: Axes, entry: Regret, name: str, marker: str, right: float, top: float, *, hollow: bool = False
) -> None:
    cost, regret = 100 * entry.in_domain_cost, 100 * entry.regret
    if cost <= right and regret <= top:
        axes.plot(cost, regret, marker=marker, markersize=8, linestyle="none", color=INK, label=name,
                  markerfacecolor="none" if hollow else INK)  # fmt: skip
    else:
        line = 0.09 if entry.setting.rule == BASE_MODEL else 0.03
        axes.annotate(f"{name}: {regret:.1f} at {cost:.1f}", (0.98, line), xycoords="axes fraction", ha="right",
                      va="bottom", fontsize=8, color=INK)  # fmt: skip

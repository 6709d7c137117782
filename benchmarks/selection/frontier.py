"""Draw the frontier of a study: the out-of-domain score against each in-domain cost, with every rule as a point.

python -m benchmarks.selection.frontier --table RUN.parquet [--table RUN.parquet ...] --plot FILE
"""

import argparse
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.selection.regret import RuleChoice
from benchmarks.selection.run_table import read_run
from benchmarks.selection.tables import SETTINGS, usual_choices
from benchmarks.selection.trade_off import COLOURS, INK
from fclip.errors import UserError
from fclip.files import atomic_path

NEAREST = "nearest"
MARKERS = ("s", "D", "X", "P", "*", "v", "^")
LEFT_OUT = ("base-model", "random")  # far off: they would leave no room for the others


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.selection.frontier",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--table", type=Path, action="append", required=True, help="the table of a run (.parquet)")
    parser.add_argument("--plot", type=Path, required=True, help="the picture: a name in .png or .svg")
    arguments = parser.parse_args()
    try:
        draw_frontier(usual_choices([read_run(path) for path in arguments.table]), arguments.plot)
    except UserError as error:
        parser.exit(1, f"{error}\n")


def draw_frontier(all_choices: Sequence[RuleChoice], path: Path) -> Path:
    """Draw a panel per metric that is held in domain. A line joins the tolerances of the rule `nearest_to_base`.

    The vertical axis is the mean regret over the held-out datasets, upside down, so that up and left is better.

    Raises:
        UserError: `path` ends in neither .png nor .svg.
    """
    if path.suffix not in (".png", ".svg"):
        raise UserError(f"{path}: a plot's name must end in .png or .svg")
    heads = ["cost in accuracy, points", *(["cost in recall, points"] * len(all_choices[0].more_costs))]
    figure = Figure(figsize=(8.0 if len(heads) == 1 else 5.5 * len(heads), 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(heads), sharey=True, squeeze=False)[0]
    for number, (axes, head) in enumerate(zip(panels, heads, strict=True)):
        _draw(axes, all_choices, number)
        axes.set_xlabel(head)
        axes.grid(color="#e2e5e9", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].invert_yaxis()
    panels[0].set_ylabel("regret, points (up is better)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix("."), dpi=130)
    return path


def _draw(axes: Axes, all_choices: Sequence[RuleChoice], number: int) -> None:
    points = {}
    for name, setting in SETTINGS.items():
        group = [choice for choice in all_choices if choice.setting == setting]
        if group and name not in LEFT_OUT:
            costs = [(choice.in_domain_cost, *choice.more_costs)[number] for choice in group]
            points[name] = 100 * float(np.mean(costs)), 100 * float(np.mean([choice.regret for choice in group]))
    nearest = {name: point for name, point in points.items() if name.startswith(NEAREST)}
    axes.plot(*zip(*nearest.values(), strict=True), color=COLOURS[0], marker="o", markersize=7, linewidth=1.6,
              label="nearest, within 0.5 to 3 points", zorder=3)  # fmt: skip
    for name, point in nearest.items():
        axes.annotate(name.rpartition(" ")[2], point, xytext=(5, 5), textcoords="offset points", fontsize=8)
    others = [name for name in points if name not in nearest]
    for name, marker, colour in zip(others, cycle(MARKERS), cycle((INK, *COLOURS[1:])), strict=False):
        axes.plot(*points[name], marker=marker, markersize=7, linestyle="none", color=colour, label=name)


if __name__ == "__main__":
    main()

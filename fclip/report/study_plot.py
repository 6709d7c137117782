"""The trade-off of a selection study as a picture: regret on unseen data against its cost in domain."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fclip.errors import UserError
from fclip.files import atomic_path
from fclip.selection.study import IN_DOMAIN, Regret

COLOURS = ("#0f6b6b", "#b4571e", "#7a3f8f", "#66728a")


def draw_trade_off(found: Sequence[Regret], path: Path) -> Path:
    """A line a rule, through its tolerances; a panel for each number of datasets that rules chose by.

    Raises:
        UserError: `path` ends in neither .png nor .svg.
    """
    if path.suffix not in (".png", ".svg"):
        raise UserError(f"{path}: a plot's name must end in .png or .svg")
    sizes = sorted({entry.num_datasets for entry in found if entry.num_datasets})
    figure = Figure(figsize=(3.6 * len(sizes), 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(sizes), sharex=True, sharey=True, squeeze=False)[0]
    for axes, size in zip(panels, sizes, strict=True):
        rules = dict.fromkeys(entry.rule for entry in found if entry.num_datasets == size)
        for colour, rule in zip(COLOURS, rules, strict=False):
            own = [entry for entry in found if (entry.rule, entry.num_datasets) == (rule, size)]
            points = [(100 * entry.in_domain_cost, 100 * entry.regret) for entry in own]
            axes.plot(*zip(*points, strict=True), color=colour, marker="o", markersize=4, linewidth=1.4,
                      alpha=0.85, label=rule.replace("_", " "))  # fmt: skip
        for rule, marker in (("start", "s"), ("random", "D"), (IN_DOMAIN, "*")):
            entry = next(each for each in found if each.rule == rule)
            axes.plot(100 * entry.in_domain_cost, 100 * entry.regret, marker=marker, markersize=8, linestyle="none",
                      color="#1b1e22", label=rule.replace("_", " "))  # fmt: skip
        axes.set_title(f"chosen by {size} outside dataset{'s' if size > 1 else ''}", fontsize=10)
        axes.set_xlabel("cost in domain, points")
        axes.grid(color="#e2e5e9", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_ylim(bottom=0)
    panels[0].set_ylabel("regret on unseen data, points")
    handles, labels = panels[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix("."), dpi=130)
    return path

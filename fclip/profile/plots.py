"""Histograms of a profile, as SVG for its page."""

from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from fclip.pages.svg import COLOURS, svg
from fclip.profile.histogram import Distribution

SIZE = (3.4, 1.85)  # inches, of 72 units
FONT = 9
LABELS = 6  # along the axis at most
BINS = 6  # at least, where there are so many


def bars(name: str, found: Distribution, *, mark: float | None = None) -> str:
    """A bar a bin, all of one width whatever its edges; empty bins at both ends are left out.

    Args:
        name: of this plot alone on its page.
        mark: where to draw a line, in the units of the edges; left out beyond them.
    """
    edges, counts = found.histogram.edges, found.histogram.counts
    first, last = _occupied(counts)
    place = None if mark is None else _place(edges, mark)
    if place is not None:
        first, last = min(first, int(place)), max(last, int(place))
    first, last = max(0, first - 1), min(len(counts) - 1, last + 1)
    last = min(len(counts) - 1, max(last, first + BINS - 1))

    def draw(axes: Axes) -> None:
        shown = range(first, last + 1)
        total = max(1, sum(counts))
        axes.bar([i + 0.5 for i in shown], [counts[i] / total for i in shown], width=0.86, color=COLOURS["s1"],
                 linewidth=0)  # fmt: skip
        ticks = list(range(first, last + 2))
        step = -(-len(ticks) // LABELS)
        axes.set_xticks(ticks[::step], [f"{edges[i]:,g}" for i in ticks[::step]])
        axes.set_xlim(first - 0.1, last + 1.1)
        axes.yaxis.set_major_locator(MaxNLocator(3))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
        axes.grid(visible=False, axis="x")
        if place is not None:
            axes.axvline(place, color=COLOURS["s2"], linewidth=1.2, linestyle=(0, (3, 2)))

    return svg(name, draw, size=SIZE, font=FONT)


def _occupied(counts: tuple[int, ...]) -> tuple[int, int]:
    full = [i for i, count in enumerate(counts) if count]
    return (full[0], full[-1]) if full else (0, len(counts) - 1)


def _place(edges: tuple[float, ...], value: float) -> float | None:
    """Where `value` lies on an axis with one unit a bin."""
    for i, (left, right) in enumerate(pairwise(edges)):
        if left <= value < right:
            return i + (value - left) / (right - left)
    return None

"""Histograms of a profile as SVG, for its page."""

from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from fclip.pages.svg import COLOURS, svg
from fclip.profile.histogram import Distribution

SIZE = (3.4, 1.85)  # inches of 72 SVG units
FONT = 9
MAX_LABELS = 6  # on the axis
MIN_BINS = 6  # shown, if there are as many


def bar_chart(name: str, distribution: Distribution, *, mark: float | None = None) -> str:
    """Draw one bar per bin, all of the same width. Empty bins at both ends are left out.

    Args:
        name: the identifier of the plot, unique on its page.
        mark: value at which to draw a line; it is left out if it is beyond the edges.
    """
    edges, counts = distribution.histogram.edges, distribution.histogram.counts
    first, last = _occupied_range(counts)
    position = None if mark is None else _axis_position(edges, mark)
    if position is not None:
        first, last = min(first, int(position)), max(last, int(position))
    first, last = max(0, first - 1), min(len(counts) - 1, last + 1)
    last = min(len(counts) - 1, max(last, first + MIN_BINS - 1))

    def draw(axes: Axes) -> None:
        shown = range(first, last + 1)
        total = max(1, sum(counts))
        axes.bar([i + 0.5 for i in shown], [counts[i] / total for i in shown], width=0.86, color=COLOURS["s1"],
                 linewidth=0)  # fmt: skip
        ticks = list(range(first, last + 2))
        step = -(-len(ticks) // MAX_LABELS)
        axes.set_xticks(ticks[::step], [f"{edges[i]:,g}" for i in ticks[::step]])
        axes.set_xlim(first - 0.1, last + 1.1)
        axes.yaxis.set_major_locator(MaxNLocator(3))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
        axes.grid(visible=False, axis="x")
        if position is not None:
            axes.axvline(position, color=COLOURS["s2"], linewidth=1.2, linestyle=(0, (3, 2)))

    return svg(name, draw, size=SIZE, font=FONT)


def _occupied_range(counts: tuple[int, ...]) -> tuple[int, int]:
    occupied = [i for i, count in enumerate(counts) if count]
    return (occupied[0], occupied[-1]) if occupied else (0, len(counts) - 1)


def _axis_position(edges: tuple[float, ...], value: float) -> float | None:
    """Return the position of `value` on an axis with one unit per bin; None if it is beyond the edges."""
    for i, (left, right) in enumerate(pairwise(edges)):
        if left <= value < right:
            return i + (value - left) / (right - left)
    return None

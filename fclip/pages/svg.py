"""Plots as SVG to put into a page, in the page's colours, whichever scheme it is in."""

import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Drawn in stand-ins that are replaced by the page's variables, so that a plot follows the colour scheme.
COLOURS = {
    "ink": "#010101",
    "muted": "#020202",
    "line": "#030303",
    "paper": "#040404",
    "shade": "#050505",
    "s1": "#060606",
    "s2": "#070707",
    "s3": "#080808",
    "s4": "#090909",
}
SIZE = (5.6, 4.0)


def svg(
    name: str, draw: Callable[[Axes], None], *, legend: bool = False, size: tuple[float, float] = SIZE, font: int = 12
) -> str:
    """What `draw` draws, as an element for an HTML page: it scales with the page and has its colours.

    Args:
        name: of this plot alone on its page.
        size: inches, of 72 units; font: of so many units.
    """
    settings: Any = {
        "svg.fonttype": "none",  # text stays text: the page's font, and it can be selected
        "svg.hashsalt": name,  # the same input gives the same bytes
        "font.size": font,
        "axes.edgecolor": COLOURS["line"],
        "axes.labelcolor": COLOURS["muted"],
        "xtick.color": COLOURS["muted"],
        "ytick.color": COLOURS["muted"],
        "text.color": COLOURS["ink"],
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": COLOURS["line"],
        "grid.linewidth": 0.6,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
    }
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        draw(axes)
        if legend:
            figure.legend(loc="outside lower left", ncols=3, frameon=False, handlelength=1.2, columnspacing=1.4)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _fit_to_page(text.getvalue(), name)


def _fit_to_page(svg: str, name: str) -> str:
    """An element for an HTML page: scales with it, uses its colours, and shares no id with another plot."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    for variable, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return svg.strip()

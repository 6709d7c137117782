"""Plots as SVG elements that follow the colour scheme of the page."""

import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Placeholder colours for drawing. The CSS variables of the page replace them, so that plots follow its colour scheme.
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
SIZE = (5.6, 4.0)  # inches


def svg(
    name: str, draw: Callable[[Axes], None], *, legend: bool = False, size: tuple[float, float] = SIZE, font: int = 12
) -> str:
    """Return the plot that `draw` draws, as an SVG element that scales with the page and uses its colours.

    Args:
        name: unique on the page.
        size: width and height in inches of 72 units. font: font size in units.
    """
    settings: Any = {
        "svg.fonttype": "none",  # text remains text in the font of the page and can be selected
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
    """Make the SVG scale with the page, use its colours, and have ids that no other plot has."""
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

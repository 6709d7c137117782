"""Distributions: range, median, and a histogram whose edges are the same for every catalog."""

from dataclasses import dataclass

import numpy as np

from fclip.pages.wording import number

# Edges are fixed, so that the histograms of two catalogs can be compared.
TOKENS = (0, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 77, 96, 128, 192, 256, 512)
CHARACTERS = (0, 10, 20, 30, 40, 50, 60, 80, 100, 150, 200, 300, 500, 1000, 2000, 5000)
PIXELS = (0, 32, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 1024, 1536, 2048, 4096)
KIBIBYTES = (0, 1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1024)
ASPECT = (0, 0.25, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.9, 0.99, 1.01, 1.1, 1.25, 1.35, 1.5, 1.75, 2, 2.5, 4)
SHARE = tuple(round(0.05 * i, 2) for i in range(21))
FEW = (1, 2, 3, 4, 5, 6, 11, 21, 51, 101, 1001)


@dataclass(frozen=True)
class Histogram:
    """Bin i counts the numbers from `edges[i]` to below `edges[i + 1]`; the first and last bins are open-ended."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Distribution:
    """The distribution of `num` numbers; `minimum`, `median` and `maximum` are None if there are none."""

    num: int
    minimum: float | None
    median: float | None
    maximum: float | None
    histogram: Histogram


def distribution(values: np.ndarray, edges: tuple[float, ...]) -> Distribution:
    """Return the distribution of finite `values` [n] over ascending `edges`."""
    bins = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    counts = tuple(int(count) for count in np.bincount(bins, minlength=len(edges) - 1))
    histogram = Histogram(tuple(float(edge) for edge in edges), counts)
    if not len(values):
        return Distribution(0, None, None, None, histogram)
    minimum, median, maximum = (round(float(value), 4) for value in (values.min(), np.median(values), values.max()))
    return Distribution(len(values), minimum, median, maximum, histogram)


def format_range(distribution: Distribution) -> str:
    """Return minimum, median and maximum as text: `3 · 8 · 15`."""
    return " · ".join(number(value) for value in (distribution.minimum, distribution.median, distribution.maximum))

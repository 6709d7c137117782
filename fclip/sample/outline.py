"""The parts of a drawn garment: smooth outlines in the garment frame.

In the garment frame, x points right and y down, both about [-1, 1]; `fitted` centres a garment there. All parts are
vector graphics until `fclip.sample.garments` draws them, so pose, bend and scale lose no detail.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

Point = tuple[float, float]


@dataclass(frozen=True)
class GarmentPart:
    """A filled outline, or a line if `width` (in frame units) is given.

    `paint` is "fabric" (colour and pattern of the product) or a name in its palette; `tone` multiplies it.
    `points` are control points of a closed (filled) or open (line) curve; two equal neighbours make a corner.
    """

    points: tuple[Point, ...]
    paint: str = "fabric"
    tone: float = 1.0
    width: float | None = None
    smooth: bool = True
    edge: bool = True


@dataclass(frozen=True)
class Garment:
    """Parts from back to front. `body`: the visible parts of a person who wears the garment, drawn behind it."""

    parts: tuple[GarmentPart, ...]
    body: tuple[GarmentPart, ...] = ()
    neck: Point | None = None  # where a hanger is attached; None: the garment never hangs
    chest: tuple[float, float, float] | None = None  # x, y and size of a printed motif


@dataclass(frozen=True)
class Cut:
    """The cut of one product: its variants, and a random generator for small differences."""

    sleeve: str
    length: str
    gender: str
    rng: random.Random

    def vary(self, low: float, high: float) -> float:
        """Return a random number between `low` and `high`."""
        return self.rng.uniform(low, high)

    def one_of(self, options: Sequence[str]) -> str:
        """Return one of the options; repeated options are more likely."""
        return options[self.rng.randrange(len(options))]

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self.rng.random() < probability


def fill(
    *points: Point, paint: str = "fabric", tone: float = 1.0, smooth: bool = True, edge: bool = True
) -> GarmentPart:
    """A filled part."""
    return GarmentPart(points, paint, tone, None, smooth, edge)


def line(
    *points: Point, paint: str = "fabric", tone: float = 0.62, width: float = 0.012, smooth: bool = True
) -> GarmentPart:
    """A line, by default a seam in the fabric."""
    return GarmentPart(points, paint, tone, width, smooth, False)


def disc(
    x: float, y: float, radius: float, *, paint: str = "fabric", tone: float = 1.0, aspect: float = 1.0
) -> GarmentPart:
    """A filled circle, or an ellipse `aspect` times as wide as high."""
    angles = [math.tau * k / 8 for k in range(8)]
    return fill(
        *((x + radius * aspect * math.cos(a), y + radius * math.sin(a)) for a in angles), paint=paint, tone=tone
    )


def mirrored(points: Iterable[Point]) -> tuple[Point, ...]:
    """Return the points mirrored at x = 0, in the same order."""
    return tuple((-x, y) for x, y in points)


def symmetric(right: Sequence[Point]) -> tuple[Point, ...]:
    """Return a closed outline from its right half, given from top to bottom."""
    return (*right, *mirrored(reversed(right)))


def both_sides(parts: Iterable[GarmentPart]) -> tuple[GarmentPart, ...]:
    """Each part and its mirror image."""
    return tuple(side for part in parts for side in (part, replace(part, points=mirrored(part.points))))


def corners(*points: Point) -> tuple[Point, ...]:
    """Return each point twice, so that a smooth outline has corners there."""
    return tuple(point for point in points for _ in range(2))


def between(a: Point, b: Point, position: float) -> Point:
    """The point at `position` (0: a, 1: b) on the line through a and b."""
    return (a[0] + (b[0] - a[0]) * position, a[1] + (b[1] - a[1]) * position)


def rib(a: Point, b: Point, c: Point, d: Point, *, num_lines: int, tone: float = 0.8) -> tuple[GarmentPart, ...]:
    """Knitted ribs over the quadrilateral a-b-c-d: lines from the side a-b to the side d-c."""
    positions = [(k + 0.5) / num_lines for k in range(num_lines)]
    return tuple(line(between(a, b, p), between(d, c, p), tone=tone, width=0.014, smooth=False) for p in positions)


def moved(
    parts: Iterable[GarmentPart], dx: float, dy: float, *, scale: float = 1.0, shade: float = 1.0
) -> tuple[GarmentPart, ...]:
    """Return the parts scaled, then shifted, with their tones multiplied by `shade`."""
    return tuple(
        replace(
            part,
            points=tuple((x * scale + dx, y * scale + dy) for x, y in part.points),
            tone=part.tone * shade,
            width=None if part.width is None else part.width * scale,
        )
        for part in parts
    )


STEPS = 6  # straight lines per spline segment


@lru_cache(maxsize=1)
def _spline_weights(steps: int) -> np.ndarray:
    t = np.arange(steps, dtype=np.float64)[:, None] / steps
    return (
        np.concatenate([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3], axis=1)
        / 2
    )


def curves(parts: Sequence[GarmentPart]) -> list[np.ndarray]:
    """The outline of each part as float64 [n, 2]: a uniform Catmull-Rom spline through its points, or the points."""
    points = np.array([point for part in parts for point in part.points], dtype=np.float64)
    rows: list[tuple[int, int, int, int]] = []  # indices of the four control points of each segment
    sizes, offset = [], 0
    for part in parts:
        count, before = len(part.points), len(rows)
        if part.smooth and count > 2:
            closed = part.width is None
            for k in range(count if closed else count - 1):
                four = (k - 1, k, k + 1, k + 2)
                at = [j % count if closed else min(max(j, 0), count - 1) for j in four]
                if part.points[at[1]] != part.points[at[2]]:  # no segment between the two points of a corner
                    rows.append((offset + at[0], offset + at[1], offset + at[2], offset + at[3]))
        sizes.append(len(rows) - before)
        offset += count
    pieces = np.einsum("sk,nkd->nsd", _spline_weights(STEPS), points[np.array(rows, dtype=np.intp).reshape(-1, 4)])
    outlines, row, offset = [], 0, 0
    for part, size in zip(parts, sizes, strict=True):
        control_points = points[offset : offset + len(part.points)]
        spline = pieces[row : row + size].reshape(-1, 2)
        if part.width is not None and size:
            spline = np.concatenate([spline, control_points[-1:]])
        outlines.append(spline if size else control_points)
        row, offset = row + size, offset + len(part.points)
    return outlines


def fitted(garment: Garment) -> Garment:
    """Return the garment and its body, centred and scaled so that the longer side of the garment spans [-1, 1]."""
    xs = [x for part in garment.parts for x, _ in part.points]
    ys = [y for part in garment.parts for _, y in part.points]
    scale = 2.0 / max(max(xs) - min(xs), max(ys) - min(ys))
    dx, dy = -(min(xs) + max(xs)) / 2 * scale, -(min(ys) + max(ys)) / 2 * scale
    return Garment(
        parts=moved(garment.parts, dx, dy, scale=scale),
        body=moved(garment.body, dx, dy, scale=scale),
        neck=garment.neck and (garment.neck[0] * scale + dx, garment.neck[1] * scale + dy),
        chest=garment.chest
        and (garment.chest[0] * scale + dx, garment.chest[1] * scale + dy, garment.chest[2] * scale),
    )

"""The features of garments with a neck: collars, closures and trims, each drawn on the frame of one product."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fclip.sample.outline import Cut, GarmentPart, both_sides, corners, disc, fill, line, symmetric


@dataclass(frozen=True)
class Frame:
    """The measures of one product: those of its block, changed by its variants and small random differences."""

    neck: float
    shoulder: float
    chest: float
    waist: float
    hem: float
    waist_y: float
    bottom: float
    depth: float  # depth of the neckline
    top: float = -0.8
    slope: float = 0.1
    armpit: float = -0.36

    def half_width(self, y: float) -> float:
        """The approximate half width of the body at height y."""
        if y < self.waist_y:
            return self.chest + (self.waist - self.chest) * (y - self.armpit) / (self.waist_y - self.armpit)
        return self.waist + (self.hem - self.waist) * (y - self.waist_y) / (self.bottom - self.waist_y)


def _shirt_collar(cut: Cut, f: Frame) -> tuple[GarmentPart, ...]:
    spread, drop = cut.vary(0.1, 0.2), cut.vary(0.12, 0.2)
    leaf = fill(
        *corners(
            (0.0, f.top + f.depth * 0.9),
            (f.neck * 0.98, f.top - 0.03),
            (f.neck + 0.05, f.top + 0.04),
            (spread, f.top + f.depth + drop),
        ),
        tone=1.08,
    )
    stand = fill((-f.neck, f.top), (0, f.top - 0.08), (f.neck, f.top), (0, f.top + 0.02), tone=0.8)
    return (stand, *both_sides([leaf]))


def _lapel(cut: Cut, f: Frame) -> tuple[GarmentPart, ...]:
    low, wide = f.top + f.depth + cut.vary(0.12, 0.3), f.neck + cut.vary(0.08, 0.14)
    leaf = fill(
        *corners(
            (0.0, low),
            (f.neck * 0.95, f.top - 0.03),
            (wide, f.top + 0.1),
            (wide - 0.07, f.top + 0.22),
            (wide + 0.02, f.top + 0.25),
        ),
        tone=1.1,
    )
    return (
        fill((-f.neck, f.top), (0, f.top - 0.07), (f.neck, f.top), (0, f.top + 0.03), tone=0.7),
        *both_sides([leaf]),
    )


def _stand(cut: Cut, f: Frame) -> tuple[GarmentPart, ...]:
    high = cut.vary(0.06, 0.14)
    return (
        fill(
            *corners((-f.neck, f.top + 0.02), (-f.neck * 0.82, f.top - high)),
            (0, f.top - high + 0.04),
            *corners((f.neck * 0.82, f.top - high), (f.neck, f.top + 0.02)),
            (0, f.top + f.depth),
            tone=1.05,
        ),
        fill(
            (-f.neck * 0.7, f.top - high + 0.02),
            (0, f.top - high),
            (f.neck * 0.7, f.top - high + 0.02),
            (0, f.top - high + 0.08),
            tone=0.5,
        ),
    )


def _hood(cut: Cut, f: Frame) -> tuple[GarmentPart, ...]:
    high, wide = cut.vary(0.22, 0.36), f.neck + cut.vary(0.06, 0.14)
    outer = symmetric(
        ((0, f.top - high), (wide * 0.8, f.top - high * 0.7), (wide, f.top), (0.05, f.top + f.depth + 0.07))
    )
    inner = symmetric(
        ((0, f.top - high * 0.62), (f.neck * 0.75, f.top - high * 0.4), (f.neck * 0.7, f.top), (0, f.top + f.depth))
    )
    strings = both_sides(
        [
            line(
                (0.07, f.top + f.depth + 0.02),
                (0.08, f.top + f.depth + 0.2),
                (0.06, f.top + f.depth + cut.vary(0.25, 0.4)),
                paint="accent",
                tone=1.0,
                width=0.02,
            ),
        ]
    )
    return (GarmentPart(outer, tone=1.02), GarmentPart(inner, tone=0.5), *strings)


def _bow(cut: Cut, f: Frame) -> tuple[GarmentPart, ...]:
    y, drop = f.top + f.depth, cut.vary(0.3, 0.5)
    return (
        *both_sides(
            [
                fill((0, y), (0.14, y - 0.07), (0.16, y + 0.07), tone=1.1),
                fill(*corners((0, y), (0.12, y + drop), (0.03, y + drop + 0.02)), tone=1.05),
            ]
        ),
        disc(0, y, 0.035, tone=0.9),
    )


def _buttons(cut: Cut, f: Frame) -> tuple[GarmentPart, ...]:
    start, radius = f.top + f.depth + 0.06, cut.vary(0.014, 0.024)
    count = round((f.bottom - start) / cut.vary(0.16, 0.24))
    spots = [start + (f.bottom - start) * (k + 0.4) / count for k in range(count)]
    edges = (
        line((0.045, f.top + f.depth), (0.045, f.bottom)),
        line((-0.045, f.top + f.depth), (-0.045, f.bottom), tone=0.75),
    )
    return (*edges, *(disc(0, y, radius, paint="button") for y in spots))


def _double(cut: Cut, f: Frame) -> tuple[GarmentPart, ...]:
    start, radius = f.top + f.depth + 0.16, cut.vary(0.028, 0.036)
    rows = [start + 0.2 * k for k in range(4)]
    return (
        line((0.2, start - 0.1), (0.19, f.bottom)),
        *(disc(x, y, radius, paint="button") for x in (-0.12, 0.12) for y in rows),
    )


def _zip(cut: Cut, f: Frame) -> tuple[GarmentPart, ...]:
    top = f.top + f.depth
    return (
        line((0, top), (0, f.bottom), tone=0.5, width=0.06),
        line((0, top), (0, f.bottom), paint="metal", width=0.02),
        fill(
            *corners((-0.02, top + 0.03), (0.02, top + 0.03), (0.015, top + 0.12), (-0.015, top + 0.12)), paint="metal"
        ),
    )


def _pocket(x: float, y: float, size: float = 0.1) -> tuple[GarmentPart, ...]:
    return (
        fill(
            *corners((x - size, y), (x + size, y), (x + size, y + size * 1.7)),
            (x, y + size * 2.2),
            *corners((x - size, y + size * 1.7)),
            tone=0.97,
        ),
        line((x - size, y + size * 0.45), (x + size, y + size * 0.45), tone=0.72),
    )


def _waist_line(cut: Cut, f: Frame) -> tuple[GarmentPart, ...]:
    folds = [
        line((f.waist * k * 0.5, f.waist_y + 0.05), (f.hem * k * 0.55, f.bottom - 0.06), tone=0.8, width=0.02)
        for k in (-1.5, -0.7, 0.1, 0.8, 1.5)
    ]
    return (line((-f.waist, f.waist_y), (0, f.waist_y + 0.02), (f.waist, f.waist_y), width=0.02), *folds)


def _belt(cut: Cut, f: Frame) -> tuple[GarmentPart, ...]:
    y, high, w = f.waist_y, cut.vary(0.03, 0.05), f.half_width(f.waist_y) + 0.01
    strap = fill(*corners((-w, y - high), (w, y - high), (w, y + high), (-w, y + high)), paint="belt")
    return (
        strap,
        fill(*corners((-0.06, y - high), (0.06, y - high), (0.06, y + high), (-0.06, y + high)), paint="metal"),
    )


def _tiers(cut: Cut, f: Frame) -> tuple[GarmentPart, ...]:
    heights = [f.waist_y + (f.bottom - f.waist_y) * k / 3 for k in range(3)]
    return tuple(
        line((-f.half_width(y), y), (0, y + 0.03), (f.half_width(y), y), tone=0.6, width=0.022) for y in heights
    )


def _cables(cut: Cut, f: Frame) -> tuple[GarmentPart, ...]:
    ys = [f.top + f.depth + 0.12 + 0.08 * k for k in range(12)]
    waves = [
        line(*((x + 0.03 * (-1) ** k, y) for k, y in enumerate(ys) if y < f.bottom - 0.14), tone=0.72, width=0.025)
        for x in (-0.2, 0.0, 0.2)
    ]
    return tuple(waves)


def _kangaroo(cut: Cut, f: Frame) -> tuple[GarmentPart, ...]:
    top, low, wide = f.bottom - 0.42, f.bottom - 0.12, cut.vary(0.24, 0.3)
    return (
        fill(
            *corners(
                (wide * 0.62, top),
                (wide, top + 0.16),
                (wide, low),
                (-wide, low),
                (-wide, top + 0.16),
                (-wide * 0.62, top),
            ),
            tone=0.95,
        ),
    )


def _nothing(cut: Cut, f: Frame) -> tuple[GarmentPart, ...]:
    return ()


Feature = Callable[[Cut, Frame], tuple[GarmentPart, ...]]

COLLARS: dict[str, Feature] = {
    "none": _nothing,
    "shirt": _shirt_collar,
    "lapel": _lapel,
    "stand": _stand,
    "hood": _hood,
    "bow": _bow,
}
CLOSURES: dict[str, Feature] = {"none": _nothing, "buttons": _buttons, "double": _double, "zip": _zip}
TRIMS: dict[str, Feature] = {
    "none": _nothing,
    "waist": _waist_line,
    "belt": _belt,
    "tiers": _tiers,
    "cables": _cables,
    "kangaroo": _kangaroo,
    "pocket": lambda cut, f: _pocket(0.24, -0.34),
    "two pockets": lambda cut, f: (*_pocket(0.24, -0.34), *_pocket(-0.24, -0.34)),
    "slant pockets": lambda cut, f: both_sides([line((0.2, 0.14), (0.3, 0.36), tone=0.5, width=0.03)]),
}

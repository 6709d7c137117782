"""Garments for the legs: jeans, trousers, shorts, skirts and socks."""

from __future__ import annotations

from dataclasses import dataclass

from fclip.sample.outline import (
    Cut,
    Garment,
    GarmentPart,
    Point,
    between,
    both_sides,
    corners,
    disc,
    fill,
    line,
    moved,
    rib,
)

LEG_HEMS = {
    "short": -0.12,
    "regular": 0.0,
    "long": 0.16,
    "cropped": -0.3,
    "mini": -0.12,
    "knee": 0.1,
    "midi": 0.42,
    "maxi": 0.75,
    "ankle": -0.3,
    "crew": 0.0,
}


@dataclass(frozen=True)
class Legs:
    """Measures of a garment with two legs, in frame units."""

    hem_y: float
    hem_width: tuple[float, float]
    spread: tuple[float, float]
    seam_paint: str
    seam_tone: float
    creases: bool
    cuffs: float  # probability of a turned-up hem
    drawstring: float  # probability of a drawstring


LEGS: dict[str, Legs] = {
    "jeans": Legs(0.95, (0.13, 0.26), (0.04, 0.16), "stitch", 1.0, False, 0.25, 0.0),
    "trousers": Legs(0.95, (0.13, 0.33), (0.03, 0.14), "fabric", 0.68, True, 0.1, 0.2),
    "shorts": Legs(0.12, (0.23, 0.3), (0.06, 0.14), "fabric", 0.68, False, 0.25, 0.45),
}


def _waistband(waist: float, top: float, high: float, bulge: float = 0.02) -> tuple[GarmentPart, ...]:
    return (
        fill(
            *corners((-waist, top)),
            (0, top + bulge),
            *corners((waist, top), (waist + 0.012, top + high)),
            (0, top + high + bulge),
            *corners((-waist - 0.012, top + high)),
            tone=0.93,
        ),
        fill(
            (-waist * 0.9, top + 0.004),
            (0, top - 0.012),
            (waist * 0.9, top + 0.004),
            (0, top + bulge + 0.012),
            tone=0.5,
        ),
    )


def legs(article_type: str, cut: Cut) -> Garment:
    """Jeans, trousers or shorts, seen from the front."""
    measures = LEGS[article_type]
    waist = cut.vary(0.29, 0.34) * (0.95 if cut.gender == "women" else 1.03)
    top, hip, crotch = -0.75, waist + cut.vary(0.06, 0.12), cut.vary(-0.24, -0.16)
    hem_y = measures.hem_y + LEG_HEMS[cut.length] * (0.9 if article_type == "shorts" else 1.0) + cut.vary(-0.03, 0.03)
    gap, width = cut.vary(*measures.spread), cut.vary(*measures.hem_width)
    inner_hem, outer_hem = (gap * 0.6, hem_y), (gap * 0.6 + width * 1.15, hem_y - 0.02)
    knee_y = (crotch + hem_y) / 2
    outer_knee = (between((hip, crotch), outer_hem, 0.5)[0] - 0.01, knee_y)
    leg = fill(
        *corners((0, top)),
        *corners((waist, top)),
        (hip - 0.02, top + 0.22),
        (hip, crotch),
        outer_knee,
        *corners(outer_hem, inner_hem),
        (gap * 0.3, knee_y),
        *corners((0.0, crotch), (0.0, crotch - 0.05)),
    )
    seam: dict[str, float | str] = {"paint": measures.seam_paint, "tone": measures.seam_tone}
    pocket = [(waist * 0.45, top + 0.1), (waist * 0.62, top + 0.24), (hip * 0.93, top + 0.27)]
    hem = [between(outer_hem, outer_knee, 0.06), between(inner_hem, (0.0, crotch), 0.06)]
    details: list[GarmentPart] = [
        _seam(pocket if article_type == "jeans" else [(waist * 0.7, top + 0.09), (hip * 0.93, top + 0.3)], seam),
        _seam(hem, seam),
        line((hip * 0.9, crotch + 0.05), (0.1, crotch + 0.02), (0.04, crotch - 0.02), tone=0.8, width=0.02),
    ]
    if measures.creases and cut.chance(0.7):
        details.append(
            line((waist * 0.55, top + 0.2), (gap * 0.6 + width * 0.55, hem_y - 0.03), tone=0.72, width=0.016)
        )
    if cut.chance(measures.cuffs):
        up = [between(outer_hem, outer_knee, 0.13), between(inner_hem, (0.0, crotch), 0.13)]
        details.append(fill(*corners(up[0], outer_hem, inner_hem, up[1]), tone=1.2))
    fly = (
        _seam([(0.0, top + 0.08), (0.0, crotch - 0.03)], {"paint": "fabric", "tone": 0.6}),
        _seam([(0.06, top + 0.08), (0.06, crotch - 0.12), (0.0, crotch - 0.04)], seam),
    )
    closing: tuple[GarmentPart, ...] = (disc(0, top + 0.045, 0.022, paint="metal"),)
    if cut.chance(measures.drawstring):
        closing = both_sides(
            [line((0.02, top + 0.05), (0.05, top + 0.16), (0.03, top + 0.28), paint="accent", tone=1.0, width=0.018)]
        )
    loops = both_sides([line((waist * x, top), (waist * x, top + 0.09), tone=0.7, width=0.02) for x in (0.5, 0.88)])
    parts = (*both_sides([leg]), *both_sides(details), *fly, *_waistband(waist, top, 0.085), *loops, *closing)
    return Garment(parts, _body_behind(waist, top), neck=(0.0, top))


def _body_behind(waist: float, top: float) -> tuple[GarmentPart, ...]:
    leg = [
        line((waist * 0.55, top + 0.4), (waist * 0.7, 1.15), paint="skin", tone=0.95, width=0.2),
        fill((waist * 0.4, 1.1), (waist * 1.0, 1.1), (waist * 1.2, 1.24), (waist * 0.4, 1.24), paint="dark"),
    ]
    torso = fill(
        *corners((-waist * 1.02, top + 0.06), (waist * 1.02, top + 0.06)),
        (waist * 1.1, top - 0.4),
        *corners((waist * 1.3, top - 0.9), (-waist * 1.3, top - 0.9)),
        (-waist * 1.1, top - 0.4),
        paint="clothes",
    )
    return (*both_sides(leg), torso)


def _seam(points: list[Point], look: dict[str, float | str]) -> GarmentPart:
    return line(*points, paint=str(look["paint"]), tone=float(look["tone"]), width=0.012)


def skirt(article_type: str, cut: Cut) -> Garment:
    """A skirt: A-line, pencil or pleated."""
    waist, top = cut.vary(0.27, 0.33), -0.6
    low = 0.2 + LEG_HEMS[cut.length] + cut.vary(-0.05, 0.05)
    form = cut.one_of(("a-line", "a-line", "pencil", "pleated"))
    hem = waist + {"a-line": cut.vary(0.14, 0.34), "pencil": cut.vary(0.02, 0.1), "pleated": cut.vary(0.2, 0.4)}[form]
    hip = (waist + (hem - waist) * 0.45 + 0.05, top + 0.32)
    body = fill(
        *corners((-waist, top), (waist, top)),
        hip,
        *corners((hem, low - 0.04)),
        (0, low + cut.vary(0.0, 0.05)),
        *corners((-hem, low - 0.04)),
        (-hip[0], hip[1]),
    )
    count = 11 if form == "pleated" else 4
    places = [(2 * (k + 0.5) / count - 1) for k in range(count)]
    tone, start = (0.66, top + 0.08) if form == "pleated" else (0.84, top + 0.3)
    folds = [
        line((p * (waist if form == "pleated" else hip[0]), start), (p * hem, low - 0.03), tone=tone, width=0.018)
        for p in places
    ]
    front = [disc(0, top + 0.14 + 0.13 * k, 0.02, paint="button") for k in range(int((low - top) / 0.14))]
    parts = (
        body,
        *folds,
        *(front if form != "pleated" and cut.chance(0.25) else ()),
        line((-hem * 0.98, low - 0.08), (0, low - 0.03), (hem * 0.98, low - 0.08), tone=0.8),
        *_waistband(waist, top, 0.07),
    )
    return Garment(parts, _body_behind(waist, top), neck=(0.0, top))


def socks(article_type: str, cut: Cut) -> Garment:
    """A pair of socks from the side."""
    high, wide = 0.85 + LEG_HEMS[cut.length] * 1.2, cut.vary(0.15, 0.19)
    heel, toe = (-wide - 0.04, 0.42), cut.vary(0.55, 0.7)
    sock = (
        fill(
            *corners((-wide, 0.42 - high), (wide, 0.42 - high)),
            (wide * 0.95, 0.1),
            (wide + 0.1, 0.3),
            (toe, 0.42),
            (toe + 0.09, 0.53),
            (toe, 0.64),
            (0.1, 0.64),
            (-wide, 0.6),
            heel,
            (-wide, 0.15),
        ),
        fill((-wide - 0.04, 0.4), (-wide + 0.08, 0.42), (0.02, 0.6), (-wide, 0.62), paint="accent"),
        fill(
            *corners((toe - 0.06, 0.43)),
            (toe + 0.06, 0.46),
            (toe + 0.09, 0.54),
            (toe, 0.64),
            *corners((toe - 0.06, 0.64)),
            paint="accent",
        ),
        *rib((-wide, 0.42 - high), (wide, 0.42 - high), (wide, 0.56 - high), (-wide, 0.56 - high), num_lines=9),
        line((-wide, 0.57 - high), (wide, 0.57 - high), tone=0.65),
    )
    dx, dy = cut.vary(0.2, 0.42), cut.vary(-0.22, 0.0)
    return Garment((*moved(sock, dx, dy, shade=0.86), *sock))

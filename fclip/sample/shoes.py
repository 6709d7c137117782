"""Shoes from the side: sneakers and boots, one or a pair."""

from __future__ import annotations

from fclip.sample.outline import Cut, Garment, GarmentPart, between, corners, disc, fill, line, moved


def _pair(cut: Cut, shoe: tuple[GarmentPart, ...]) -> tuple[GarmentPart, ...]:
    if cut.chance(0.35):
        return shoe
    return (*moved(shoe, cut.vary(0.1, 0.3), cut.vary(-0.3, -0.16), shade=0.84), *shoe)


def sneakers(article_type: str, cut: Cut) -> Garment:
    """A low or high sports shoe from the side, or a pair."""
    ankle, sole = (cut.vary(-0.5, -0.38) if cut.chance(0.25) else cut.vary(-0.24, -0.1)), cut.vary(0.08, 0.15)
    throat = (-0.22, ankle + 0.02)
    instep = (0.28, 0.06)
    upper = fill(
        *corners((-0.78, ankle - 0.02)),
        (-0.6, ankle + 0.08),
        (-0.4, ankle + 0.06),
        *corners(throat),
        (0.05, -0.06),
        instep,
        (0.62, 0.16),
        (0.8, 0.3),
        *corners((0.8, 0.42), (-0.8, 0.42)),
        (-0.84, 0.2),
        (-0.76, 0.0),
    )
    base = fill(
        *corners((-0.84, 0.38)),
        (0.0, 0.4),
        *corners((0.83, 0.36)),
        (0.88, 0.42),
        (0.82, 0.38 + sole),
        (0.3, 0.4 + sole),
        *corners((-0.8, 0.4 + sole)),
        (-0.87, 0.44),
        paint=cut.one_of(("white", "white", "white", "accent", "dark")),
    )
    tongue = fill(
        *corners((-0.3, ankle - 0.07), (-0.14, ankle - 0.08)), (0.0, ankle + 0.16), (-0.2, ankle + 0.2), tone=1.12
    )
    lining = fill((-0.76, ankle), (-0.5, ankle - 0.03), (-0.24, ankle + 0.0), (-0.45, ankle + 0.08), tone=0.45)
    laces = [
        line(
            between((-0.2, ankle + 0.08), (0.2, 0.06), k / 4),
            between((-0.08, ankle + 0.2), (0.12, 0.18), k / 4),
            paint="lace",
            width=0.035,
        )
        for k in range(5)
    ]
    toe = fill(*corners((0.5, 0.16)), (0.68, 0.2), (0.8, 0.32), *corners((0.8, 0.4), (0.46, 0.4)), tone=0.85)
    stripes = [
        line((-0.2 + 0.14 * k, 0.33), (-0.04 + 0.1 * k, 0.02), paint="accent", width=0.05, smooth=False)
        for k in range(cut.rng.randrange(4))
    ]
    swoosh = [fill((-0.5, 0.16), (-0.2, 0.3), (0.3, 0.1), (-0.15, 0.2), paint="accent")] if cut.chance(0.3) else []
    heel = fill(
        *corners((-0.8, 0.0), (-0.66, 0.02), (-0.64, 0.36), (-0.83, 0.38)),
        paint=cut.one_of(("fabric", "accent")),
        tone=0.88,
    )
    shoe = (
        lining,
        tongue,
        upper,
        toe,
        heel,
        *(swoosh or stripes),
        *laces,
        base,
        line((-0.82, 0.4 + sole * 0.5), (0.82, 0.4 + sole * 0.5), paint="dark", width=0.012),
    )
    return Garment(_pair(cut, shoe))


def boots(article_type: str, cut: Cut) -> Garment:
    """A boot from the side, or a pair: ankle to knee high, laced, zipped or plain."""
    high = {"ankle": cut.vary(0.35, 0.5), "mid": cut.vary(0.6, 0.8), "knee": cut.vary(1.05, 1.3)}[cut.length]
    heel = cut.vary(0.12, 0.24) if cut.gender == "women" else cut.vary(0.08, 0.13)
    wide, top = cut.vary(0.25, 0.31), 0.3 - high
    upper = fill(
        *corners((-0.6, top)),
        (-0.6 + wide, top + 0.02),
        *corners((-0.6 + 2 * wide, top - 0.02)),
        (-0.04, 0.12),
        (0.1, 0.26),
        (0.42, 0.34),
        (0.62, 0.48),
        *corners((0.62, 0.62), (-0.6, 0.62)),
        (-0.64, 0.45),
        (-0.56, 0.2),
    )
    sole = fill(
        *corners((-0.62, 0.6), (0.64, 0.6)),
        (0.66, 0.66),
        *corners((0.6, 0.7), (-0.22, 0.67), (-0.3, 0.62 + heel), (-0.6, 0.62 + heel)),
        paint=cut.one_of(("dark", "dark", "leather")),
    )
    lining = fill(
        (-0.59, top), (-0.6 + wide, top - 0.03), (-0.6 + 2 * wide, top - 0.02), (-0.6 + wide, top + 0.05), tone=0.4
    )
    front = [between((-0.62 + 1.9 * wide, top + 0.1), (0.06, 0.3), k / 6) for k in range(7)]
    style = {
        "laced": [line((x - 0.16, y + 0.03), (x, y - 0.01), paint="lace", width=0.03) for x, y in front],
        "elastic": [fill(*corners((-0.42, top + 0.04), (-0.22, top + 0.04), (-0.26, 0.4), (-0.34, 0.4)), paint="dark")],
        "zipped": [line((-0.4, top + 0.03), (-0.36, 0.55), paint="metal", width=0.022)],
        "strapped": [
            fill(*corners((-0.6, 0.16), (-0.02, 0.1), (0.02, 0.2), (-0.6, 0.28)), tone=0.75),
            disc(-0.2, 0.18, 0.05, paint="metal"),
        ],
    }[cut.one_of(("laced", "elastic", "zipped", "strapped"))]
    shoe = (
        lining,
        upper,
        *style,
        line((-0.6, 0.5), (-0.2, 0.46), (0.1, 0.3), tone=0.7),
        line((-0.6, 0.58), (0.62, 0.58), tone=0.75),
        sole,
    )
    return Garment(_pair(cut, shoe))

"""Headwear, bags and scarves."""

from __future__ import annotations

from fclip.sample.outline import Cut, Garment, GarmentPart, corners, disc, fill, line


def cap(article_type: str, cut: Cut) -> Garment:
    """A cap with a visor, turned to one side."""
    high, reach = cut.vary(0.5, 0.66), cut.vary(0.42, 0.6)
    set_champion = fill(
        *corners((-0.62, 0.2)),
        (-0.58, -0.12),
        (-0.38, 0.2 - high),
        (0.0, 0.12 - high),
        (0.34, 0.24 - high),
        (0.5, -0.06),
        *corners((0.52, 0.22)),
        (0.0, 0.27),
    )
    visor = fill(
        *corners((-0.05, 0.24)),
        (0.3, 0.14),
        *corners((0.52, 0.16)),
        (0.5 + reach * 0.7, 0.27),
        (0.5 + reach, 0.38),
        (0.4 + reach * 0.6, 0.42),
        (0.3, 0.36),
        paint=cut.one_of(("fabric", "fabric", "accent")),
        tone=0.86,
    )
    panels = [
        line((-0.02, 0.13 - high), (x, -0.1), (x * 1.2, 0.24), tone=0.62, width=0.016) for x in (-0.34, -0.02, 0.3)
    ]
    badge = (
        [disc(0.14, -0.02, cut.vary(0.08, 0.14), paint="accent", aspect=cut.vary(0.9, 1.3))] if cut.chance(0.5) else []
    )
    parts = (
        set_champion,
        *panels,
        *badge,
        visor,
        line((0.0, 0.29), (0.4, 0.25), (0.45 + reach * 0.8, 0.35), tone=0.7),
        disc(-0.01, 0.12 - high, 0.035, tone=0.8),
    )
    return Garment(parts, chest=(0.16, -0.02, 0.15))


def hat(article_type: str, cut: Cut) -> Garment:
    """A hat with a full brim: fedora, bucket or sun hat."""
    form = cut.one_of(("fedora", "bucket", "sun"))
    brim, high, top = {
        "fedora": (cut.vary(0.76, 0.92), cut.vary(0.52, 0.62), 0.33),
        "bucket": (cut.vary(0.62, 0.7), cut.vary(0.5, 0.58), 0.36),
        "sun": (cut.vary(0.95, 1.15), cut.vary(0.4, 0.5), 0.3),
    }[form]
    droop = 0.2 if form == "bucket" else cut.vary(0.02, 0.1)
    under = fill(
        (-brim, 0.2 + droop),
        (-0.5, 0.12),
        (0, 0.1),
        (0.5, 0.12),
        (brim, 0.2 + droop),
        (0.55, 0.34 + droop * 0.6),
        (0, 0.38 + droop * 0.5),
        (-0.55, 0.34 + droop * 0.6),
        tone=0.9,
    )
    dent = 0.07 if form == "fedora" else -0.02
    set_champion = fill(
        *corners((-0.45, 0.22)),
        (-0.42, 0.0),
        (-top, 0.24 - high),
        (-0.12, 0.17 - high),
        (0, 0.17 - high + dent),
        (0.12, 0.17 - high),
        (top, 0.24 - high),
        (0.42, 0.0),
        *corners((0.45, 0.22)),
        (0, 0.31),
    )
    band = fill(
        *corners((-0.445, 0.09)),
        (0, 0.17),
        *corners((0.445, 0.09), (0.45, 0.21)),
        (0, 0.3),
        *corners((-0.45, 0.21)),
        paint="accent",
    )
    rings = [
        line(
            (-brim * k, 0.2 + droop * k),
            (0, 0.38 + droop * 0.5 * k - 0.06 * (1 - k)),
            (brim * k, 0.2 + droop * k),
            tone=0.8,
        )
        for k in (0.72, 0.86)
    ]
    return Garment(
        (
            under,
            *rings,
            set_champion,
            *((band,) if form != "bucket" or cut.chance(0.2) else (line((-0.45, 0.2), (0, 0.29), (0.45, 0.2)),)),
        )
    )


def handbag(article_type: str, cut: Cut) -> Garment:
    """A handbag: tote, flap bag or bowling bag."""
    wide, flare, high = cut.vary(0.5, 0.72), cut.vary(-0.1, 0.14), cut.vary(0.6, 0.9)
    body = fill(
        *corners((-wide, 0.0)),
        (0, 0.01),
        *corners((wide, 0.0)),
        (wide + flare, high - 0.12),
        (wide + flare - 0.1, high),
        (0, high + 0.02),
        (-wide - flare + 0.1, high),
        (-wide - flare, high - 0.12),
    )
    rise, at = cut.vary(0.3, 0.75), wide * cut.vary(0.45, 0.8)
    strap = cut.one_of(("fabric", "leather", "fabric"))

    def handle(dx: float, dy: float, tone: float) -> GarmentPart:
        return line(
            (-at + dx, 0.06),
            (-at * 0.9 + dx, -rise * 0.6 + dy),
            (dx, -rise + dy),
            (at * 0.9 + dx, -rise * 0.6 + dy),
            (at + dx, 0.06),
            paint=strap,
            tone=tone,
            width=0.055,
        )

    tabs = [disc(x, 0.09, 0.045, paint="metal") for x in (-at, at)]
    edge = wide + flare * 0.6
    style = {
        "flap": [
            fill(
                *corners((-wide - 0.02, -0.02), (wide + 0.02, -0.02)),
                (edge, high * 0.45),
                (0, high * 0.62),
                (-edge, high * 0.45),
                tone=1.08,
            ),
            disc(0, high * 0.55, 0.06, paint="metal", aspect=1.4),
        ],
        "tote": [line((-wide, 0.07), (wide, 0.07), paint="stitch", width=0.014), *tabs],
        "zip": [
            line((-wide * 0.9, 0.06), (wide * 0.9, 0.06), paint="metal", width=0.03),
            line((-edge, high * 0.7), (edge, high * 0.7), tone=0.7, width=0.02),
            *tabs,
        ],
        "pocket": [
            fill(
                *corners(
                    (-wide * 0.55, high * 0.4),
                    (wide * 0.55, high * 0.4),
                    (wide * 0.55, high * 0.85),
                    (-wide * 0.55, high * 0.85),
                ),
                tone=0.93,
            ),
            disc(0, high * 0.45, 0.035, paint="metal"),
            *tabs,
        ],
    }[cut.one_of(("flap", "tote", "zip", "pocket"))]
    parts = (handle(0.05, -0.05, 0.7), body, *style, handle(0.0, 0.0, 1.0))
    return Garment(parts, chest=(0.0, high * 0.5, 0.2))


def scarf(article_type: str, cut: Cut) -> Garment:
    """A scarf: looped with both ends hanging, or folded once."""
    wide, long = cut.vary(0.17, 0.24), cut.vary(1.0, 1.4)
    ends = []
    for side, low in ((-1, long), (1, long * cut.vary(0.7, 1.0))):
        x = side * cut.vary(0.16, 0.28)
        sway = cut.vary(-0.05, 0.12) * side
        ends.append(
            fill(
                *corners((x - wide, -0.1), (x + wide, -0.1)),
                (x + wide + sway * 0.5, low * 0.5),
                *corners((x + wide + sway, low), (x - wide + sway, low)),
                (x - wide + sway * 0.5, low * 0.5),
                tone=0.92 if side < 0 else 1.0,
            )
        )
        ends += [
            line((x + sway + wide * p, low), (x + sway + wide * p * 1.06, low + 0.12), tone=0.9, width=0.022)
            for p in (-0.9, -0.54, -0.18, 0.18, 0.54, 0.9)
        ]
        ends += [line((x + wide * 0.4, 0.05), (x + sway + wide * 0.3, low * 0.9), tone=0.8, width=0.02)]
    turn = cut.vary(0.42, 0.52)
    loop = (
        fill((-turn, -0.22), (0, -0.46), (turn, -0.22), (turn * 0.8, 0.08), (0, 0.22), (-turn * 0.8, 0.08), tone=1.04),
        fill((-turn * 0.55, -0.26), (0, -0.36), (turn * 0.55, -0.26), (0, -0.1), tone=0.45),
        line((-turn * 0.85, -0.12), (0, 0.08), (turn * 0.85, -0.12), tone=0.72, width=0.022),
        line((-turn * 0.6, 0.06), (0, 0.14), (turn * 0.7, -0.02), tone=0.8, width=0.02),
    )
    return Garment((*ends, *loop), neck=(0.0, -0.4))

"""Garments with a neck, from tank top to coat and dress: a block of measures and features selected by name."""

from __future__ import annotations

import math
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
    mirrored,
    rib,
    symmetric,
)
from fclip.sample.tailoring import CLOSURES, COLLARS, TRIMS, Frame

SLEEVES = {"sleeveless": 0.0, "short": 0.34, "three-quarter": 0.72, "long": 1.08}
HEMS = {"cropped": -0.14, "regular": 0.0, "long": 0.2, "mini": 0.0, "knee": 0.22, "midi": 0.42, "maxi": 0.7}


@dataclass(frozen=True)
class Block:
    """Half widths and heights of a type in frame units, and its possible features. Repeated features are likelier."""

    neck: float = 0.2
    shoulder: float = 0.48
    chest: float = 0.46
    waist: float = 0.44
    hem: float = 0.46
    waist_y: float = 0.1
    bottom: float = 0.62
    sleeve_width: float = 0.12
    flare: float = 0.0  # widening of the cuff
    necks: tuple[str, ...] = ("crew",)
    collars: tuple[str, ...] = ("none",)
    closures: tuple[str, ...] = ("none",)
    trims: tuple[str, ...] = ("none",)
    hems: tuple[str, ...] = ("plain",)


BLOCKS: dict[str, Block] = {
    "t-shirt": Block(sleeve_width=0.15, necks=("crew", "crew", "vee"), trims=("none", "none", "pocket")),
    "tank top": Block(neck=0.22, shoulder=0.31, chest=0.4, waist=0.39, hem=0.41, necks=("scoop", "scoop", "vee")),
    "shirt": Block(
        bottom=0.7,
        collars=("shirt",),
        closures=("buttons",),
        trims=("pocket", "none", "two pockets"),
        hems=("round", "round", "plain"),
    ),
    "blouse": Block(
        shoulder=0.42,
        chest=0.41,
        waist=0.38,
        hem=0.46,
        bottom=0.55,
        sleeve_width=0.14,
        flare=0.07,
        necks=("vee", "scoop", "crew"),
        collars=("none", "none", "shirt", "bow"),
        closures=("none", "none", "buttons"),
        hems=("round", "plain"),
    ),
    "sweater": Block(
        shoulder=0.5,
        chest=0.49,
        waist=0.47,
        hem=0.45,
        sleeve_width=0.13,
        necks=("crew", "crew", "vee", "turtle"),
        trims=("none", "none", "cables"),
        hems=("rib",),
    ),
    "hoodie": Block(
        neck=0.22,
        shoulder=0.51,
        chest=0.5,
        waist=0.49,
        hem=0.46,
        sleeve_width=0.14,
        necks=("crew",),
        collars=("hood",),
        closures=("none", "none", "zip"),
        trims=("kangaroo", "kangaroo", "none"),
        hems=("rib",),
    ),
    "jacket": Block(
        shoulder=0.52,
        chest=0.51,
        waist=0.49,
        hem=0.48,
        bottom=0.6,
        sleeve_width=0.135,
        necks=("vee", "crew"),
        collars=("stand", "shirt", "lapel", "stand"),
        closures=("zip", "zip", "buttons"),
        trims=("slant pockets", "two pockets", "slant pockets"),
        hems=("band", "plain", "rib"),
    ),
    "coat": Block(
        shoulder=0.5,
        chest=0.49,
        waist=0.47,
        hem=0.57,
        bottom=1.02,
        sleeve_width=0.14,
        necks=("vee",),
        collars=("lapel", "lapel", "stand"),
        closures=("buttons", "double", "zip"),
        trims=("slant pockets", "belt", "slant pockets"),
    ),
    "dress": Block(
        neck=0.2,
        shoulder=0.38,
        chest=0.36,
        waist=0.28,
        hem=0.62,
        waist_y=-0.02,
        bottom=0.78,
        sleeve_width=0.12,
        flare=0.02,
        necks=("scoop", "vee", "crew"),
        collars=("none", "none", "none", "shirt"),
        closures=("none", "none", "none", "buttons"),
        trims=("waist", "belt", "tiers", "waist"),
        hems=("round",),
    ),
}


NECK_DEPTHS = {"crew": (0.1, 0.15), "vee": (0.24, 0.4), "scoop": (0.22, 0.36), "turtle": (0.04, 0.06)}
BODY = {"women": (0.96, 0.93), "men": (1.04, 1.03), "kids": (1.0, 1.04), "unisex": (1.0, 1.0)}  # shoulder, waist


def _frame(cut: Cut, block: Block, neck: str) -> Frame:
    wide, waist = BODY[cut.gender]
    fit = cut.vary(0.93, 1.08)
    return Frame(
        neck=block.neck * cut.vary(0.9, 1.1),
        shoulder=block.shoulder * wide * cut.vary(0.95, 1.05),
        chest=block.chest * wide * fit,
        waist=block.waist * waist * fit,
        hem=block.hem * fit * cut.vary(0.93, 1.1),
        waist_y=block.waist_y + cut.vary(-0.05, 0.05),
        bottom=block.bottom + HEMS[cut.length] + cut.vary(-0.06, 0.06),
        depth=cut.vary(*NECK_DEPTHS[neck]),
    )


def _body(f: Frame, neck: str, hem: str, sleeved: bool) -> GarmentPart:
    low = f.top + f.depth
    neckline: tuple[Point, ...] = (
        (*corners((0.0, low)), *corners((f.neck, f.top)))
        if neck == "vee"
        else ((0.0, low), (f.neck * 0.62, low - f.depth * 0.22), *corners((f.neck, f.top)))
    )
    armhole = () if sleeved else ((min(f.shoulder, f.chest) - 0.035, f.armpit - 0.2),)
    side = (*corners((f.shoulder, f.top + f.slope)), *armhole, *corners((f.chest, f.armpit)), (f.waist, f.waist_y))
    ends: tuple[Point, ...] = corners((f.hem, f.bottom))
    if hem == "round":
        ends = (*corners((f.hem, f.bottom - 0.06)), (f.hem * 0.5, f.bottom + 0.03))
    return GarmentPart(symmetric((*neckline, *side, *ends)))


def _sleeve(cut: Cut, f: Frame, block: Block, hem: str, angle: float) -> tuple[GarmentPart, ...]:
    length = SLEEVES[cut.sleeve] * cut.vary(0.94, 1.06)
    if not length:
        return ()
    along, across = (math.cos(angle), math.sin(angle)), (math.sin(angle), -math.cos(angle))
    start, under = (f.shoulder - 0.03, f.top + f.slope), (f.chest - 0.05, f.armpit + 0.05)
    middle = between(start, under, 0.45)

    def at(distance: float, aside: float) -> Point:
        return (
            middle[0] + along[0] * distance + across[0] * aside,
            middle[1] + along[1] * distance + across[1] * aside,
        )

    width = block.sleeve_width * cut.vary(0.9, 1.1)
    wrist = (width if cut.sleeve == "short" else width * 0.66) + block.flare * cut.vary(0.4, 1.3)
    elbow, bow = (width + wrist) / 2, cut.vary(0.0, 0.05)
    outer, inner = at(length, wrist), at(length, -wrist)
    outline = fill(
        *corners((f.shoulder - 0.09, f.top + f.slope - 0.02)),
        (f.shoulder + 0.015, f.top + f.slope + 0.02),
        at(length * 0.5, elbow + bow),
        *corners(outer, inner),
        at(length * 0.5, -elbow + bow * 0.5),
        *corners(under),
        tone=0.95,
    )
    cuff = max(0.88 * length, length - 0.12)
    a, b = at(cuff, wrist), at(cuff, -wrist)
    ends: tuple[GarmentPart, ...] = (line(a, b, tone=0.6),)
    if hem in ("rib", "band") and cut.sleeve == "long":
        ends += rib(a, b, inner, outer, num_lines=6)
    return (
        outline,
        *ends,
        line(at(length * 0.45, -elbow * 0.7), at(length * 0.5, elbow * 0.2), tone=0.82, width=0.016),
    )


def _neckband(f: Frame, neck: str) -> tuple[GarmentPart, ...]:
    if neck == "turtle":
        top = f.top - 0.14
        roll = fill(
            *corners((-f.neck, f.top + 0.03), (-f.neck * 0.9, top)),
            (0, top - 0.02),
            *corners((f.neck * 0.9, top), (f.neck, f.top + 0.03)),
            (0, f.top + 0.09),
            tone=1.05,
        )
        return (roll, line((-f.neck * 0.93, f.top - 0.05), (0, f.top - 0.03), (f.neck * 0.93, f.top - 0.05), tone=0.75))
    low = f.top + f.depth
    rim = [(f.neck, f.top), (f.neck * 0.62, low - f.depth * 0.22), (0.0, low)]
    if neck == "vee":
        rim[1] = between(rim[0], rim[2], 0.5)
    return (line(*rim, *reversed(mirrored(rim[:2])), tone=0.72, width=0.035, smooth=neck != "vee"),)


def _hem(f: Frame, hem: str) -> tuple[GarmentPart, ...]:
    if hem not in ("rib", "band"):
        return (
            line((-f.hem * 0.97, f.bottom - 0.05), (0, f.bottom - 0.04), (f.hem * 0.97, f.bottom - 0.05), tone=0.8),
        )
    top, wide = f.bottom - 0.1, f.half_width(f.bottom - 0.1)
    edge = line((-wide, top), (wide, top), tone=0.6, width=0.016)
    return (
        edge,
        *(rib((-wide, top), (wide, top), (f.hem, f.bottom), (-f.hem, f.bottom), num_lines=22) if hem == "rib" else ()),
    )


def _body_behind(f: Frame, angle: float) -> tuple[GarmentPart, ...]:
    shoulder = (f.shoulder - 0.12, f.top + f.slope + 0.1)
    hand = (shoulder[0] + 1.2 * math.cos(angle), shoulder[1] + 1.2 * math.sin(angle))
    limbs = [line(shoulder, hand, paint="skin", tone=1.0, width=0.13), disc(*hand, 0.085, paint="skin", aspect=0.8)]
    limbs.append(line((0.17, f.bottom - 0.2), (0.19, f.bottom + 1.2), paint="clothes", tone=1.0, width=0.3))
    return (
        *both_sides(limbs),
        line((0, f.top + 0.15), (0, f.top - 0.15), paint="skin", tone=0.9, width=0.2),
        disc(0, f.top - 0.36, 0.25, paint="hair", aspect=0.86),
        disc(0, f.top - 0.3, 0.2, paint="skin", aspect=0.84),
    )


def top(article_type: str, cut: Cut) -> Garment:
    """One garment with a neck, of a type in `BLOCKS`."""
    block = BLOCKS[article_type]
    neck, hem, collar = cut.one_of(block.necks), cut.one_of(block.hems), cut.one_of(block.collars)
    frame = _frame(cut, block, neck)
    angle = math.radians(cut.vary(30, 62) if cut.sleeve == "short" else cut.vary(56, 76))
    sleeve = _sleeve(cut, frame, block, hem, angle)
    low = frame.top + frame.depth
    inside = fill(
        *corners((-frame.neck, frame.top)),
        (0, frame.top - 0.05),
        *corners((frame.neck, frame.top)),
        (frame.neck * 0.6, low),
        (0, low + 0.02),
        (-frame.neck * 0.6, low),
        tone=0.5,
    )
    parts = (
        inside,
        *both_sides(sleeve),
        _body(frame, neck, hem, bool(sleeve)),
        *_hem(frame, hem),
        *(_neckband(frame, neck) if collar == "none" else ()),
        *TRIMS[cut.one_of(block.trims)](cut, frame),
        *CLOSURES[cut.one_of(block.closures)](cut, frame),
        *COLLARS[collar](cut, frame),
    )
    return Garment(parts, _body_behind(frame, angle), neck=(0.0, frame.top), chest=(0.0, low + 0.34, 0.25))

"""Drawn backgrounds of photographs: rooms, streets, floors and shop rails with other objects."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

RGB = tuple[int, int, int]
"""A colour, 0 to 255."""

WALLS: tuple[RGB, ...] = (
    (206, 198, 184),
    (168, 180, 188),
    (190, 150, 120),
    (120, 138, 120),
    (222, 214, 206),
    (92, 96, 108),
    (176, 132, 128),
    (150, 160, 200),
)
WOODS: tuple[RGB, ...] = ((158, 116, 78), (120, 84, 56), (190, 156, 114), (96, 72, 58), (176, 168, 158))
CLOTHS: tuple[RGB, ...] = (
    (178, 52, 56),
    (52, 84, 148),
    (60, 118, 84),
    (220, 186, 92),
    (58, 56, 64),
    (214, 214, 216),
    (146, 96, 150),
    (204, 130, 92),
    (92, 146, 158),
)


def _shifted(rng: random.Random, colour: RGB, by: int = 24) -> RGB:
    step, red, blue = by * (2 * rng.random() - 1), 0.3 * by * (2 * rng.random() - 1), 0.3 * by * (2 * rng.random() - 1)
    return (
        min(255, max(0, int(colour[0] + step + red))),
        min(255, max(0, int(colour[1] + step))),
        min(255, max(0, int(colour[2] + step + blue))),
    )


def person(draw: ImageDraw.ImageDraw, rng: random.Random, x: float, feet: float, height: float) -> None:
    """Draw a standing person with random clothes, skin and hair."""
    skin = _shifted(rng, rng.choice(((222, 178, 150), (160, 112, 82), (104, 72, 54))))
    upper, lower = (
        _shifted(rng, rng.choice(CLOTHS)),
        _shifted(rng, rng.choice(((48, 52, 70), (92, 84, 76), (34, 34, 38), (120, 130, 150)))),
    )
    w, top = height * 0.13, feet - height
    draw.rectangle((x - w * 0.8, top + height * 0.5, x - w * 0.05, feet), fill=lower)
    draw.rectangle((x + w * 0.05, top + height * 0.5, x + w * 0.8, feet), fill=lower)
    draw.rounded_rectangle((x - w, top + height * 0.16, x + w, top + height * 0.55), radius=max(1, w * 0.5), fill=upper)
    draw.line((x - w, top + height * 0.22, x - w * 1.5, top + height * 0.52), fill=upper, width=max(1, int(w * 0.5)))
    draw.line((x + w, top + height * 0.22, x + w * 1.5, top + height * 0.52), fill=upper, width=max(1, int(w * 0.5)))
    draw.ellipse((x - w * 0.55, top - 0.01 * height, x + w * 0.55, top + height * 0.15), fill=skin)
    draw.chord(
        (x - w * 0.6, top - 0.02 * height, x + w * 0.6, top + height * 0.12), 180, 360, fill=_shifted(rng, (66, 48, 38))
    )


def _planks(draw: ImageDraw.ImageDraw, rng: random.Random, side: int, top: float = 0.0) -> None:
    wood, size, y = rng.choice(WOODS), side * rng.uniform(0.06, 0.16), top
    while y < side:
        x = -rng.uniform(0, side * 0.5)
        while x < side:
            long = side * rng.uniform(0.4, 0.9)
            draw.rectangle(
                (x, y, x + long, y + size),
                fill=_shifted(rng, wood, 14),
                outline=_shifted(rng, (wood[0] - 45, wood[1] - 40, wood[2] - 35), 5),
            )
            x += long
        y += size


def _floor(draw: ImageDraw.ImageDraw, rng: random.Random, side: int) -> None:
    _planks(draw, rng, side)
    for _ in range(rng.randrange(4)):
        x, y, size = rng.uniform(0, side), rng.uniform(0, side), side * rng.uniform(0.08, 0.3)
        shape = rng.choice((draw.ellipse, draw.rectangle))
        shape((x - size, y - size * 0.7, x + size, y + size * 0.7), fill=rng.choice(CLOTHS))


def _room(draw: ImageDraw.ImageDraw, rng: random.Random, side: int) -> None:
    horizon = side * rng.uniform(0.55, 0.85)
    draw.rectangle((0, 0, side, side), fill=_shifted(rng, rng.choice(WALLS)))
    _planks(draw, rng, side, horizon)
    draw.rectangle((0, horizon - side * 0.025, side, horizon), fill=_shifted(rng, (214, 210, 202)))
    for _ in range(rng.randint(1, 3)):  # pictures, doors, windows
        x, y, w, h = (
            rng.uniform(-0.1, 0.9) * side,
            rng.uniform(0, 0.35) * side,
            rng.uniform(0.1, 0.4) * side,
            rng.uniform(0.12, 0.5) * side,
        )
        draw.rectangle(
            (x, y, x + w, min(y + h, horizon)),
            fill=_shifted(rng, rng.choice(CLOTHS + WALLS)),
            outline=_shifted(rng, (70, 56, 46)),
            width=max(1, side // 60),
        )
    for _ in range(rng.randint(1, 3)):  # sofas, tables, shelves
        x, w, h = rng.uniform(-0.2, 0.9) * side, rng.uniform(0.2, 0.6) * side, rng.uniform(0.12, 0.5) * side
        low, colour = horizon + rng.uniform(0.02, 0.16) * side, _shifted(rng, rng.choice(CLOTHS + WOODS))
        draw.rounded_rectangle((x, low - h, x + w, low), radius=rng.choice((0, 2, side * 0.04)), fill=colour)
        for k in range(rng.randrange(4)):
            y = low - h + (k + 1) * h / 4
            draw.line((x, y, x + w, y), fill=_shifted(rng, (60, 50, 44)), width=max(1, side // 90))


def _street(draw: ImageDraw.ImageDraw, rng: random.Random, side: int) -> None:
    horizon = side * rng.uniform(0.5, 0.8)
    draw.rectangle((0, 0, side, side), fill=_shifted(rng, (170, 198, 222)))
    x = -rng.uniform(0, 0.2) * side
    while x < side:
        w, top = rng.uniform(0.15, 0.4) * side, rng.uniform(-0.1, 0.3) * side
        draw.rectangle((x, top, x + w, horizon), fill=_shifted(rng, rng.choice(WALLS)))
        glass, step = _shifted(rng, (76, 92, 112)), side * 0.11
        for k in range(int(w / step)):
            for j in range(int((horizon - top) / step)):
                draw.rectangle(
                    (x + (k + 0.25) * step, top + (j + 0.25) * step, x + (k + 0.75) * step, top + (j + 0.8) * step),
                    fill=glass,
                )
        x += w
    draw.rectangle((0, horizon, side, side), fill=_shifted(rng, (128, 126, 124)))
    for k in range(5):
        draw.line((side * (k / 4), horizon, side * (k / 2 - 0.5), side), fill=_shifted(rng, (104, 102, 100)), width=1)
    for _ in range(rng.randint(1, 5)):
        person(draw, rng, rng.uniform(0, side), horizon + rng.uniform(0.05, 0.25) * side, rng.uniform(0.3, 0.75) * side)


def _rail(draw: ImageDraw.ImageDraw, rng: random.Random, side: int) -> None:
    draw.rectangle((0, 0, side, side), fill=_shifted(rng, rng.choice(WALLS)))
    top, x = side * rng.uniform(0.02, 0.2), -rng.uniform(0, 0.1) * side
    while x < side:
        w, low, colour = rng.uniform(0.05, 0.14) * side, side * rng.uniform(0.6, 1.0), _shifted(rng, rng.choice(CLOTHS))
        draw.polygon(
            (x, top + w, x + w * 0.5, top + w * 0.3, x + w, top + w, x + w * 1.1, low, x - w * 0.1, low),
            fill=colour,
            outline=_shifted(rng, (56, 52, 54)),
        )
        x += w
    draw.line((0, top, side, top), fill=(96, 96, 100), width=max(1, side // 50))


def _bed(draw: ImageDraw.ImageDraw, rng: random.Random, side: int) -> None:
    cloth = _shifted(rng, rng.choice(CLOTHS + WALLS))
    draw.rectangle((0, 0, side, side), fill=cloth)
    period, style = side * rng.uniform(0.06, 0.2), rng.randrange(3)
    stripe = _shifted(rng, rng.choice(CLOTHS + WALLS))
    for k in range(int(side / period) + 1):
        if style != 1:
            draw.rectangle((k * period, 0, k * period + period * 0.4, side), fill=stripe)
        if style == 2:
            draw.rectangle((0, k * period, side, k * period + period * 0.25), fill=_shifted(rng, stripe))
    for _ in range(rng.randrange(3)):
        x, y, size = rng.uniform(0, side), rng.choice((0.0, 1.0)) * side, rng.uniform(0.2, 0.4) * side
        draw.rounded_rectangle(
            (x - size, y - size * 0.6, x + size, y + size * 0.6),
            radius=size * 0.3,
            fill=_shifted(rng, rng.choice(CLOTHS + WALLS)),
        )


def _bricks(draw: ImageDraw.ImageDraw, rng: random.Random, side: int) -> None:
    colour = _shifted(rng, rng.choice(((164, 92, 70), (190, 186, 180), (120, 112, 108), (88, 128, 120))))
    draw.rectangle((0, 0, side, side), fill=_shifted(rng, (198, 192, 184)))
    h = side * rng.uniform(0.05, 0.1)
    for j in range(int(side / h) + 1):
        for k in range(-1, int(side / (2.2 * h)) + 1):
            x = (k + 0.5 * (j % 2)) * 2.2 * h
            draw.rectangle((x + 1, j * h + 1, x + 2.2 * h - 1, j * h + h - 1), fill=_shifted(rng, colour, 16))
    for _ in range(rng.randrange(3)):
        person(draw, rng, rng.uniform(0, side), side * rng.uniform(0.9, 1.1), rng.uniform(0.5, 0.9) * side)


def _meadow(draw: ImageDraw.ImageDraw, rng: random.Random, side: int) -> None:
    ground = _shifted(rng, rng.choice(((92, 128, 66), (196, 176, 134), (128, 122, 108))))
    draw.rectangle((0, 0, side, side), fill=ground)
    for _ in range(110):
        x, y, size = rng.uniform(0, side), rng.uniform(0, side), rng.uniform(0.02, 0.09) * side
        draw.ellipse((x - size, y - size * 0.5, x + size, y + size * 0.5), fill=_shifted(rng, ground, 34))


BACKDROPS: tuple[Callable[[ImageDraw.ImageDraw, random.Random, int], None], ...] = (
    _room,
    _room,
    _street,
    _street,
    _floor,
    _rail,
    _bed,
    _bricks,
    _meadow,
)


def draw_background(rng: random.Random, generator: np.random.Generator, side: int) -> np.ndarray:
    """Return a random background, float32 [3, side, side] in 0..255, with varying sharpness and uneven light."""
    coarse = side // rng.choice((1, 2, 2, 3))
    image = Image.new("RGB", (coarse, coarse))
    rng.choice(BACKDROPS)(ImageDraw.Draw(image), rng, coarse)
    patches = Image.fromarray(np.clip(128 + 13 * generator.standard_normal((6, 6)), 0, 255).astype(np.uint8))
    light = np.asarray(patches.resize((side, side), Image.Resampling.BICUBIC)) * np.float32(1 / 128)
    sharp = image if coarse == side else image.resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(sharp).transpose(2, 0, 1) * light

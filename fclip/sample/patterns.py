"""Patterns and weaves as one-channel images (sheets), drawn once per process and mapped to a garment by its pose.

A sheet covers [-REACH, REACH] of the garment frame. The values of a pattern sheet select colours (0: the base
colour, 128: the first accent, 255: the second); the values of a weave sheet are brightness around 128.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import cache, lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from fclip.sample.outline import GarmentPart, corners, disc, fill, line

REACH = 1.5
SIDE = 512
NUM_VARIANTS = 5


def _striped(draw: ImageDraw.ImageDraw, rng: random.Random, side: int) -> None:
    period, upright = side * rng.choice((0.03, 0.05, 0.075, 0.1)), rng.random() < 0.3
    share = rng.uniform(0.25, 0.5)
    for k in range(int(side / period) + 1):
        low, high = k * period, (k + share) * period
        draw.rectangle(
            (low, 0, high, side) if upright else (0, low, side, high), fill=128 if k % 3 or share > 0.4 else 255
        )


def _checked(draw: ImageDraw.ImageDraw, rng: random.Random, side: int) -> None:
    period = side * rng.choice((0.045, 0.07, 0.1))
    count = int(side / period) + 1
    for k in range(count):
        draw.rectangle((0, k * period, side, (k + 0.45) * period), fill=70)
    for k in range(count):
        draw.rectangle((k * period, 0, (k + 0.45) * period, side), fill=70)
        for j in range(count):
            draw.rectangle((k * period, j * period, (k + 0.45) * period, (j + 0.45) * period), fill=128)
    if rng.random() < 0.6:
        for k in range(count):
            draw.line((0, (k + 0.72) * period, side, (k + 0.72) * period), fill=255, width=max(1, int(period * 0.07)))
            draw.line(((k + 0.72) * period, 0, (k + 0.72) * period, side), fill=255, width=max(1, int(period * 0.07)))


def _dotted(draw: ImageDraw.ImageDraw, rng: random.Random, side: int) -> None:
    period = side * rng.choice((0.04, 0.055, 0.075))
    radius = period * rng.uniform(0.2, 0.32)
    for j in range(int(side / period * 2) + 1):
        for k in range(int(side / period) + 1):
            x, y = (k + 0.5 * (j % 2)) * period, j * period / 2
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=128)


def _floral(draw: ImageDraw.ImageDraw, rng: random.Random, side: int) -> None:
    period = side * rng.choice((0.06, 0.08, 0.11))
    for j in range(int(side / period) + 1):
        for k in range(int(side / period) + 1):
            x, y = (k + rng.uniform(0.1, 0.9)) * period, (j + rng.uniform(0.1, 0.9)) * period
            size, turn = period * rng.uniform(0.13, 0.24), rng.uniform(0, math.tau)
            for petal in range(5):
                a = turn + petal * math.tau / 5
                px, py = x + math.cos(a) * size, y + math.sin(a) * size
                draw.ellipse((px - size * 0.72, py - size * 0.72, px + size * 0.72, py + size * 0.72), fill=128)
            draw.ellipse((x - size * 0.5, y - size * 0.5, x + size * 0.5, y + size * 0.5), fill=255)
            a = turn + 0.6
            draw.line(
                (
                    x + math.cos(a) * size,
                    y + math.sin(a) * size,
                    x + math.cos(a) * size * 2.6,
                    y + math.sin(a) * size * 2.6,
                ),
                fill=200,
                width=max(1, int(size * 0.25)),
            )


def _colour_block(draw: ImageDraw.ImageDraw, rng: random.Random, side: int) -> None:
    middle = side * rng.uniform(0.44, 0.52)
    band = side * rng.uniform(0.05, 0.12)
    first, second = rng.choice(((128, 0), (128, 255), (0, 128)))
    draw.rectangle((0, 0, side, middle), fill=first)
    draw.rectangle((0, middle, side, middle + band), fill=second)


def _camouflage(draw: ImageDraw.ImageDraw, rng: random.Random, side: int) -> None:
    for level in (128, 255, 128, 60) * 45:
        x, y, size = rng.uniform(0, side), rng.uniform(0, side), side * rng.uniform(0.015, 0.04)
        for _ in range(3):
            x, y = x + rng.uniform(-size, size) * 1.3, y + rng.uniform(-size, size) * 0.7
            draw.ellipse((x - size, y - size * 0.6, x + size, y + size * 0.6), fill=level)


PATTERNS: dict[str, Callable[[ImageDraw.ImageDraw, random.Random, int], None]] = {
    "striped": _striped,
    "checked": _checked,
    "polka dot": _dotted,
    "floral": _floral,
    "colour-block": _colour_block,
    "camouflage": _camouflage,
}


@lru_cache(maxsize=len(PATTERNS) * NUM_VARIANTS)
def pattern_sheet(pattern: str, variant: int) -> Image.Image:
    """Return one of the `NUM_VARIANTS` sheets of a pattern in `PATTERNS` as an "L" image."""
    rng = random.Random(f"{pattern}/{variant}")
    image = Image.new("L", (2 * SIDE, 2 * SIDE))
    PATTERNS[pattern](ImageDraw.Draw(image), rng, 2 * SIDE)
    return image.reduce(2)


# Per weave: grain size across and along in sheet pixels, contrast of the grain, and contrast of the regular rib.
WEAVES: dict[str, tuple[float, float, float, float]] = {
    "knit": (2, 3, 12, 26),
    "wool": (2, 2, 26, 0),
    "fleece": (5, 5, 14, 0),
    "denim": (1.3, 4, 26, 6),
    "leather": (9, 9, 16, 0),
    "suede": (2.5, 2.5, 16, 0),
    "straw": (2, 2, 14, 34),
    "flannel": (2, 2, 18, 0),
    "canvas": (1.4, 1.4, 16, 0),
    "linen": (1.4, 5, 20, 0),
}


@cache
def weave_sheet(material: str) -> Image.Image | None:
    """Return the weave of a material as an "L" image around 128; None for a smooth material."""
    if material not in WEAVES:
        return None
    across, along, contrast, ribbed = WEAVES[material]
    generator = np.random.Generator(np.random.PCG64(len(material) * 1000 + ord(material[0])))
    grain = generator.standard_normal((int(SIDE / along), int(SIDE / across))).astype(np.float32)
    field = np.asarray(Image.fromarray(grain).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    columns = np.sin(np.arange(SIDE) * (math.tau / 7.0))[None, :] * ribbed
    return Image.fromarray(np.clip(128 + field * contrast + columns, 0, 255).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(0.5)
    )


def _mountains(x: float, y: float, s: float) -> tuple[GarmentPart, ...]:
    return (
        fill(*corners((x - s, y + s * 0.6), (x - s * 0.3, y - s * 0.5), (x + s * 0.4, y + s * 0.6)), paint="accent"),
        fill(
            *corners((x - s * 0.2, y + s * 0.6), (x + s * 0.4, y - s * 0.2), (x + s, y + s * 0.6)),
            paint="accent",
            tone=0.7,
        ),
        disc(x + s * 0.5, y - s * 0.5, s * 0.2, paint="second"),
    )


def _star(x: float, y: float, s: float) -> tuple[GarmentPart, ...]:
    tips = [
        (
            x + s * (0.9 if k % 2 == 0 else 0.38) * math.sin(k * math.tau / 10),
            y - s * (0.9 if k % 2 == 0 else 0.38) * math.cos(k * math.tau / 10),
        )
        for k in range(10)
    ]
    return (GarmentPart(tuple(tips), "accent", smooth=False),)


def _letters(x: float, y: float, s: float) -> tuple[GarmentPart, ...]:
    strokes = [
        line(
            (x - s * 0.9 + k * s * 0.45, y + s * 0.25),
            (x - s * 0.75 + k * s * 0.45, y - s * 0.25),
            (x - s * 0.6 + k * s * 0.45, y + s * 0.25),
            paint="accent",
            width=s * 0.14,
            smooth=k % 2 == 0,
        )
        for k in range(4)
    ]
    return (*strokes, line((x - s * 0.9, y + s * 0.45), (x + s, y + s * 0.45), paint="second", width=s * 0.1))


def _rings(x: float, y: float, s: float) -> tuple[GarmentPart, ...]:
    return (
        disc(x, y, s * 0.85, paint="accent"),
        disc(x, y, s * 0.6, paint="second"),
        disc(x, y, s * 0.3, paint="accent", tone=0.8),
    )


def _box(x: float, y: float, s: float) -> tuple[GarmentPart, ...]:
    frame = fill(
        *corners((x - s, y - s * 0.6), (x + s, y - s * 0.6), (x + s, y + s * 0.6), (x - s, y + s * 0.6)), paint="accent"
    )
    return (
        frame,
        *(
            line((x - s * 0.7, y + s * k), (x + s * (0.7 - abs(k)), y + s * k), paint="second", width=s * 0.13)
            for k in (-0.3, 0.0, 0.3)
        ),
    )


PRINTS: tuple[Callable[[float, float, float], tuple[GarmentPart, ...]], ...] = (
    _mountains,
    _star,
    _letters,
    _rings,
    _box,
)

"""Make a photograph from a cut-out object: composition with a background, shadow, light, camera noise, obstacles."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from fclip.scenes.backgrounds import CLOTHS

NOISY = 0.5
"""Probability of camera noise."""

Box = tuple[int, int, int, int]
"""Left, top, right, bottom, in pixels."""


@dataclass(frozen=True)
class Sprite:
    """A cut-out object and its box in the image.

    `colour` is premultiplied float32 [3, height, width] in 0..255, `alpha` is float32 [height, width] in 0..1, both
    of the size of the box. `cover` is the alpha as an "L" image of a quarter of the width and height.
    """

    box: Box
    colour: np.ndarray
    alpha: np.ndarray
    cover: Image.Image


def over(
    sprite: Sprite, background: np.ndarray, *, shadow: float, offset: tuple[int, int], softness: float
) -> np.ndarray:
    """Return the sprite and its shadow on the background, float32 [3, side, side]."""
    side = background.shape[1]
    left, top, right, bottom = sprite.box
    cast = Image.new("L", (side // 4, side // 4))
    cast.paste(sprite.cover, (round((left + offset[0]) / 4), round((top + offset[1]) / 4)))
    soft = cast.filter(ImageFilter.BoxBlur(softness / 4)).resize((side, side), Image.Resampling.BILINEAR)
    picture: np.ndarray = background * (1 - np.asarray(soft) * np.float32(shadow / 255))
    window = picture[:, top:bottom, left:right]
    window *= 1 - sprite.alpha
    window += sprite.colour
    return picture


def camera(picture: np.ndarray, rng: random.Random, generator: np.random.Generator) -> Image.Image:
    """Return the image with light from one side, a colour cast, an exposure and noise."""
    side = picture.shape[1]
    warmth, exposure, fall = rng.gauss(0, 0.09), rng.uniform(0.68, 1.15), rng.gauss(0, 0.22)
    ramp = np.linspace(1 - fall, 1 + fall, side, dtype=np.float32)
    light = ramp[:, None] if rng.random() < 0.5 else ramp[None, :]
    gains = np.array([1 + warmth, 1 + rng.gauss(0, 0.03), 1 - warmth], dtype=np.float32) * np.float32(exposure)
    lit = picture * (light * gains[:, None, None])
    if rng.random() < NOISY:
        lit += generator.integers(-128, 128, size=(side, side), dtype=np.int8) * np.float32(rng.uniform(0.03, 0.12))
    return to_image(lit)


def to_image(picture: np.ndarray) -> Image.Image:
    """Convert float32 [3, side, side] in 0..255 to an RGB image."""
    planes = np.clip(picture, 0, 255, out=np.empty(picture.shape, np.uint8), casting="unsafe")
    return Image.merge("RGB", [Image.fromarray(plane) for plane in planes])


def jpeg(image: Image.Image, quality: int) -> bytes:
    """Return the image as the bytes of a JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _arm(draw: ImageDraw.ImageDraw, rng: random.Random, side: int) -> None:
    x, y = rng.choice(((0, rng.uniform(0.3, 1.0)), (1, rng.uniform(0.3, 1.0)), (rng.uniform(0.1, 0.9), 1)))
    end = (0.5 + (x - 0.5) * rng.uniform(0.3, 0.6), 0.5 + (y - 0.5) * rng.uniform(0.3, 0.7))
    width, skin = int(side * rng.uniform(0.07, 0.12)), rng.choice(((222, 178, 150), (160, 112, 82), (104, 72, 54)))
    draw.line((x * side, y * side, end[0] * side, end[1] * side), fill=skin, width=width)
    draw.ellipse(
        (
            end[0] * side - width * 0.6,
            end[1] * side - width * 0.6,
            end[0] * side + width * 0.6,
            end[1] * side + width * 0.6,
        ),
        fill=skin,
    )


def _box(draw: ImageDraw.ImageDraw, rng: random.Random, side: int) -> None:
    x, y, w, h = (
        rng.choice((-0.1, 0.8)) * side,
        rng.uniform(0.2, 0.8) * side,
        rng.uniform(0.2, 0.4) * side,
        rng.uniform(0.3, 0.8) * side,
    )
    draw.rounded_rectangle((x, y, x + w, y + h), radius=rng.uniform(0, 0.06) * side, fill=rng.choice(CLOTHS))


def _leaves(draw: ImageDraw.ImageDraw, rng: random.Random, side: int) -> None:
    x, y = rng.choice((0, 1)) * side, rng.choice((0, 1)) * side
    for _ in range(9):
        a, long = rng.uniform(0, math.tau), rng.uniform(0.2, 0.42) * side
        tip, across = (x + long * math.cos(a), y + long * math.sin(a)), 0.14 * long
        draw.polygon(
            (
                x,
                y,
                (x + tip[0]) / 2 - across * math.sin(a),
                (y + tip[1]) / 2 + across * math.cos(a),
                *tip,
                (x + tip[0]) / 2 + across * math.sin(a),
                (y + tip[1]) / 2 - across * math.cos(a),
            ),
            fill=(rng.randint(40, 90), rng.randint(100, 150), 60),
        )


def _tag(draw: ImageDraw.ImageDraw, rng: random.Random, side: int) -> None:
    x, y = rng.uniform(0.4, 0.6) * side, rng.uniform(0.3, 0.6) * side
    draw.rectangle((x, y, x + side * 0.09, y + side * 0.13), fill=(246, 244, 236), outline=(120, 116, 110))
    draw.line((x + side * 0.02, y + side * 0.05, x + side * 0.07, y + side * 0.05), fill=(60, 60, 60), width=2)


OBSTACLES: tuple[Callable[[ImageDraw.ImageDraw, random.Random, int], None], ...] = (_arm, _arm, _box, _leaves, _tag)

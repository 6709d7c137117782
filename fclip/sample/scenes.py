"""Photographs of a garment in the two domains: the shop's `studio`, and the `street` where customers take theirs."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from fclip.sample.backdrops import CLOTHS, draw_backdrop
from fclip.sample.garments import Pose, Sprite, draw_garment
from fclip.sample.outline import Garment, Part, line
from fclip.sample.products import Product

Domain = Literal["studio", "street"]
WORN, HUNG = 0.4, 0.45  # how often, in the street, somebody wears it; and if nobody does, how often it hangs


def _over(sprite: Sprite, background: np.ndarray, *, shadow: float, offset: tuple[int, int], softness: float) -> np.ndarray:
    """The sprite on its background with its cast shadow, float32 [side, side, 3]."""
    cast = Image.fromarray((sprite.alpha * 255).astype(np.uint8)).reduce(2).filter(ImageFilter.BoxBlur(softness / 2))
    side = sprite.alpha.shape[0]
    dx, dy = offset
    cast = cast.transform((side, side), Image.Transform.AFFINE, (0.5, 0, -dx / 2, 0, 0.5, -dy / 2), Image.Resampling.BILINEAR)
    dark = 1 - np.asarray(cast, dtype=np.float32) * np.float32(shadow / 255)
    picture: np.ndarray = background * (dark * (1 - sprite.alpha))[..., None] + sprite.colour
    return picture


def _jpeg(picture: np.ndarray, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def studio(product: Product, garment: Garment, rng: random.Random, generator: np.random.Generator, side: int) -> bytes:
    """A JPEG on white: upright, well framed, evenly lit, a slight shadow."""
    pose = Pose.of(
        side=side, scale=rng.uniform(0.76, 0.9), angle=rng.uniform(-4, 4), aspect=rng.uniform(0.93, 1.05), x=rng.uniform(0.47, 0.53),
        y=rng.uniform(0.47, 0.53), flip=rng.random() < 0.5, bend=(rng.uniform(-0.02, 0.02), rng.uniform(-0.015, 0.015)), phase=rng.uniform(0, 6),
    )
    sprite = draw_garment(product, garment, pose, generator=generator, side=side, wrinkles=rng.uniform(0.02, 0.05))
    background = np.full((side, side, 3), rng.choice((255, 255, 255, 250, 245)), dtype=np.float32)
    picture = _over(sprite, background, shadow=rng.uniform(0.1, 0.24), offset=(rng.randint(-3, 5), rng.randint(2, 7)), softness=rng.uniform(5, 9))
    return _jpeg(picture * np.float32(rng.uniform(0.96, 1.02)), 90)


def _hanger(garment: Garment) -> tuple[Part, ...]:
    if garment.neck is None:
        return ()
    x, y = garment.neck
    hook = [(x + 0.06 * math.sin(a), y - 0.24 - 0.06 * math.cos(a)) for a in (-1.6, -0.6, 0.5, 1.6, 2.6)]
    return (
        line(*hook, (x, y - 0.15), (x, y), paint="metal", tone=0.8, width=0.022),
        line((x - 0.36, y + 0.16), (x, y - 0.04), (x + 0.36, y + 0.16), paint="wood", tone=1.0, width=0.05, smooth=False),
    )


def _arm(draw: ImageDraw.ImageDraw, rng: random.Random, side: int) -> None:
    x, y = rng.choice(((0, rng.uniform(0.3, 1.0)), (1, rng.uniform(0.3, 1.0)), (rng.uniform(0.1, 0.9), 1)))
    end = (0.5 + (x - 0.5) * rng.uniform(0.3, 0.6), 0.5 + (y - 0.5) * rng.uniform(0.3, 0.7))
    width, skin = int(side * rng.uniform(0.07, 0.12)), rng.choice(((222, 178, 150), (160, 112, 82), (104, 72, 54)))
    draw.line((x * side, y * side, end[0] * side, end[1] * side), fill=skin, width=width)
    draw.ellipse((end[0] * side - width * 0.6, end[1] * side - width * 0.6, end[0] * side + width * 0.6, end[1] * side + width * 0.6), fill=skin)


def _thing(draw: ImageDraw.ImageDraw, rng: random.Random, side: int) -> None:
    x, y, w, h = rng.choice((-0.1, 0.8)) * side, rng.uniform(0.2, 0.8) * side, rng.uniform(0.2, 0.4) * side, rng.uniform(0.3, 0.8) * side
    draw.rounded_rectangle((x, y, x + w, y + h), radius=rng.uniform(0, 0.06) * side, fill=rng.choice(CLOTHS))


def _leaves(draw: ImageDraw.ImageDraw, rng: random.Random, side: int) -> None:
    x, y = rng.choice((0, 1)) * side, rng.choice((0, 1)) * side
    for _ in range(9):
        a, long = rng.uniform(0, math.tau), rng.uniform(0.2, 0.42) * side
        tip, across = (x + long * math.cos(a), y + long * math.sin(a)), 0.14 * long
        draw.polygon((x, y, (x + tip[0]) / 2 - across * math.sin(a), (y + tip[1]) / 2 + across * math.cos(a), *tip,
                      (x + tip[0]) / 2 + across * math.sin(a), (y + tip[1]) / 2 - across * math.cos(a)), fill=(rng.randint(40, 90), rng.randint(100, 150), 60))


def _tag(draw: ImageDraw.ImageDraw, rng: random.Random, side: int) -> None:
    x, y = rng.uniform(0.4, 0.6) * side, rng.uniform(0.3, 0.6) * side
    draw.rectangle((x, y, x + side * 0.09, y + side * 0.13), fill=(246, 244, 236), outline=(120, 116, 110))
    draw.line((x + side * 0.02, y + side * 0.05, x + side * 0.07, y + side * 0.05), fill=(60, 60, 60), width=2)


OBSTACLES: tuple[Callable[[ImageDraw.ImageDraw, random.Random, int], None], ...] = (_arm, _arm, _thing, _leaves, _tag)


def street(product: Product, garment: Garment, rng: random.Random, generator: np.random.Generator, side: int) -> bytes:
    """A JPEG as a customer takes it: worn, hung or lying about, turned, cut off, in odd light, not always sharp."""
    worn = bool(garment.body) and rng.random() < WORN
    hung = not worn and rng.random() < HUNG
    pose = Pose.of(
        side=side, scale=rng.uniform(0.45, 0.68) if worn else rng.uniform(0.55, 0.92), angle=rng.gauss(0, 7 if worn or hung else 22),
        aspect=rng.uniform(0.8, 1.1), x=rng.gauss(0.5, 0.07), y=rng.gauss(0.5, 0.06), flip=rng.random() < 0.5,
        bend=(rng.gauss(0, 0.05), rng.gauss(0, 0.04)), taper=rng.gauss(0, 0.08), phase=rng.uniform(0, 6),
    )
    sprite = draw_garment(
        product, garment, pose, generator=generator, side=side, worn=worn, wrinkles=rng.uniform(0.05, 0.12), behind=_hanger(garment) if hung else (),
    )
    picture = _over(sprite, draw_backdrop(rng, generator, side), shadow=rng.uniform(0.2, 0.55),
                    offset=(rng.randint(-10, 10), rng.randint(0, 12)), softness=rng.uniform(3, 12))
    if rng.random() < 0.35:
        image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
        rng.choice(OBSTACLES)(ImageDraw.Draw(image), rng, side)
        picture = np.asarray(image, dtype=np.float32)
    return _jpeg(_camera(picture, rng, generator), rng.randint(68, 92))


def _camera(picture: np.ndarray, rng: random.Random, generator: np.random.Generator) -> np.ndarray:
    """Light from one side, its colour, exposure, blur and noise."""
    side = picture.shape[0]
    warmth, exposure, fall = rng.gauss(0, 0.09), rng.uniform(0.68, 1.15), rng.gauss(0, 0.22)
    ramp = np.linspace(1 - fall, 1 + fall, side, dtype=np.float32)
    light = (ramp[:, None] if rng.random() < 0.5 else ramp[None, :])[..., None]
    gains = np.array([1 + warmth, 1 + rng.gauss(0, 0.03), 1 - warmth], dtype=np.float32) * np.float32(exposure)
    lit = picture * (light * gains)
    if rng.random() < 0.4:
        image = Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8)).filter(ImageFilter.BoxBlur(rng.uniform(0.4, 1.6)))
        lit = np.asarray(image, dtype=np.float32)
    if rng.random() < 0.5:
        grain = generator.integers(-128, 128, size=(side, side, 1), dtype=np.int8)
        lit = lit + grain * np.float32(rng.uniform(0.04, 0.16))
    return np.asarray(lit)


SCENES: dict[str, Callable[[Product, Garment, random.Random, np.random.Generator, int], bytes]] = {"studio": studio, "street": street}

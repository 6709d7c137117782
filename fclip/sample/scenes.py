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
# How often, in the street, somebody wears it; it hangs, if nobody does; something is in front of it; and so on.
WORN, HUNG, OBSTRUCTED, BLURRED, NOISY = 0.4, 0.45, 0.35, 0.4, 0.5


def _over(
    sprite: Sprite, background: np.ndarray, *, shadow: float, offset: tuple[int, int], softness: float
) -> np.ndarray:
    """The sprite with its cast shadow on its background, float32 [3, side, side] as that."""
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


def _image(picture: np.ndarray) -> Image.Image:
    """The picture float32 [3, side, side] as an RGB image."""
    planes = np.clip(picture, 0, 255, out=np.empty(picture.shape, np.uint8), casting="unsafe")
    return Image.merge("RGB", [Image.fromarray(plane) for plane in planes])


def _jpeg(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def studio(product: Product, garment: Garment, rng: random.Random, generator: np.random.Generator, side: int) -> bytes:
    """A JPEG on white: upright, well framed, evenly lit, a slight shadow."""
    pose = Pose.of(
        side=side,
        scale=rng.uniform(0.76, 0.9),
        angle=rng.uniform(-4, 4),
        aspect=rng.uniform(0.93, 1.05),
        x=rng.uniform(0.47, 0.53),
        y=rng.uniform(0.47, 0.53),
        flip=rng.random() < 0.5,
        bend=(rng.uniform(-0.02, 0.02), rng.uniform(-0.015, 0.015)),
        phase=rng.uniform(0, 6),
    )
    sprite = draw_garment(product, garment, pose, generator=generator, side=side, wrinkles=rng.uniform(0.02, 0.05))
    background = np.full((3, side, side), rng.choice((255, 255, 255, 250, 245)), dtype=np.float32)
    picture = _over(
        sprite,
        background,
        shadow=rng.uniform(0.1, 0.24),
        offset=(rng.randint(-3, 5), rng.randint(2, 7)),
        softness=rng.uniform(5, 9),
    )
    return _jpeg(_image(picture * np.float32(rng.uniform(0.96, 1.02))), 90)


def _hanger(garment: Garment) -> tuple[Part, ...]:
    if garment.neck is None:
        return ()
    x, y = garment.neck
    hook = [(x + 0.06 * math.sin(a), y - 0.24 - 0.06 * math.cos(a)) for a in (-1.6, -0.6, 0.5, 1.6, 2.6)]
    return (
        line(*hook, (x, y - 0.15), (x, y), paint="metal", tone=0.8, width=0.022),
        line(
            (x - 0.36, y + 0.16), (x, y - 0.04), (x + 0.36, y + 0.16), paint="wood", tone=1.0, width=0.05, smooth=False
        ),
    )


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


def _thing(draw: ImageDraw.ImageDraw, rng: random.Random, side: int) -> None:
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


OBSTACLES: tuple[Callable[[ImageDraw.ImageDraw, random.Random, int], None], ...] = (_arm, _arm, _thing, _leaves, _tag)


def street(product: Product, garment: Garment, rng: random.Random, generator: np.random.Generator, side: int) -> bytes:
    """A JPEG as a customer takes it: worn, hung or lying about, turned, cut off, in odd light, not always sharp."""
    worn = bool(garment.body) and rng.random() < WORN
    hung = not worn and rng.random() < HUNG
    pose = Pose.of(
        side=side,
        scale=rng.uniform(0.45, 0.68) if worn else rng.uniform(0.55, 0.92),
        angle=rng.gauss(0, 7 if worn or hung else 22),
        aspect=rng.uniform(0.8, 1.1),
        x=rng.gauss(0.5, 0.07),
        y=rng.gauss(0.5, 0.06),
        flip=rng.random() < 0.5,
        bend=(rng.gauss(0, 0.05), rng.gauss(0, 0.04)),
        taper=rng.gauss(0, 0.08),
        phase=rng.uniform(0, 6),
    )
    sprite = draw_garment(
        product,
        garment,
        pose,
        generator=generator,
        side=side,
        worn=worn,
        wrinkles=rng.uniform(0.05, 0.12),
        behind=_hanger(garment) if hung else (),
    )
    picture = _over(
        sprite,
        draw_backdrop(rng, generator, side),
        shadow=rng.uniform(0.2, 0.55),
        offset=(rng.randint(-10, 10), rng.randint(0, 12)),
        softness=rng.uniform(3, 12),
    )
    image = _camera(picture, rng, generator)
    if rng.random() < OBSTRUCTED:
        rng.choice(OBSTACLES)(ImageDraw.Draw(image), rng, side)
    if rng.random() < BLURRED:
        image = image.filter(ImageFilter.BoxBlur(rng.uniform(0.4, 1.6)))
    return _jpeg(image, rng.randint(68, 92))


def _camera(picture: np.ndarray, rng: random.Random, generator: np.random.Generator) -> Image.Image:
    """Light from one side, its colour, exposure and noise."""
    side = picture.shape[1]
    warmth, exposure, fall = rng.gauss(0, 0.09), rng.uniform(0.68, 1.15), rng.gauss(0, 0.22)
    ramp = np.linspace(1 - fall, 1 + fall, side, dtype=np.float32)
    light = ramp[:, None] if rng.random() < 0.5 else ramp[None, :]
    gains = np.array([1 + warmth, 1 + rng.gauss(0, 0.03), 1 - warmth], dtype=np.float32) * np.float32(exposure)
    lit = picture * (light * gains[:, None, None])
    if rng.random() < NOISY:
        lit += generator.integers(-128, 128, size=(side, side), dtype=np.int8) * np.float32(rng.uniform(0.03, 0.12))
    return _image(lit)


SCENES: dict[str, Callable[[Product, Garment, random.Random, np.random.Generator, int], bytes]] = {
    "studio": studio,
    "street": street,
}

"""Images of a garment in the two domains: `studio` (images of the shop) and `street` (images by customers)."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Literal

import numpy as np
from PIL import ImageDraw, ImageFilter

from fclip.sample.garments import Pose, draw_garment
from fclip.sample.outline import Garment, GarmentPart, line
from fclip.sample.products import Product
from fclip.scenes.backgrounds import draw_background
from fclip.scenes.photographs import OBSTACLES, camera, jpeg, over, to_image

Domain = Literal["studio", "street"]
# Probabilities in the street domain: a person wears the garment; else it hangs on a hanger; an object covers a part of
# it; the image is blurred.
WORN, HUNG, OBSTRUCTED, BLURRED = 0.4, 0.45, 0.35, 0.4


def studio(product: Product, garment: Garment, rng: random.Random, generator: np.random.Generator, side: int) -> bytes:
    """Return a JPEG on a white background: upright, centred, evenly lit, with a slight shadow."""
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
    picture = over(
        sprite,
        background,
        shadow=rng.uniform(0.1, 0.24),
        offset=(rng.randint(-3, 5), rng.randint(2, 7)),
        softness=rng.uniform(5, 9),
    )
    return jpeg(to_image(picture * np.float32(rng.uniform(0.96, 1.02))), 90)


def _hanger(garment: Garment) -> tuple[GarmentPart, ...]:
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


def street(product: Product, garment: Garment, rng: random.Random, generator: np.random.Generator, side: int) -> bytes:
    """Return a JPEG as by a customer: worn, hung or lying, rotated, cropped, in varying light, partly blurred."""
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
    picture = over(
        sprite,
        draw_background(rng, generator, side),
        shadow=rng.uniform(0.2, 0.55),
        offset=(rng.randint(-10, 10), rng.randint(0, 12)),
        softness=rng.uniform(3, 12),
    )
    image = camera(picture, rng, generator)
    if rng.random() < OBSTRUCTED:
        rng.choice(OBSTACLES)(ImageDraw.Draw(image), rng, side)
    if rng.random() < BLURRED:
        image = image.filter(ImageFilter.BoxBlur(rng.uniform(0.4, 1.6)))
    return jpeg(image, rng.randint(68, 92))


SCENES: dict[str, Callable[[Product, Garment, random.Random, np.random.Generator, int], bytes]] = {
    "studio": studio,
    "street": street,
}

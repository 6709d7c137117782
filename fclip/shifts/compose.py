"""Place a cut-out product on another ground."""

from __future__ import annotations

import random

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from fclip.scenes.backgrounds import draw_background
from fclip.scenes.photographs import OBSTACLES, Sprite, camera, jpeg, over, to_image
from fclip.shifts.cut_out import CutOut, Floats

MIN_SIDE = 224
"""Side of the new picture in pixels, unless the cut-out has a larger shorter side."""
SCALES = (0.5, 0.82)
"""Smallest and largest longer side of a product, as a share of the side of the picture."""
TURN, TURN_AT_BORDER = 14.0, 3.0
"""Largest angle in degrees. A product that its picture cuts off, such as trousers below a shirt, is turned less."""
TOUCHING = 0.04
"""A product is cut off at a side if it fills this share of it."""
OBSTRUCTED, BLURRED = 0.2, 0.35
"""Probabilities of an object before the product, and of blur."""
WHITE_QUALITY = 92


def placed(product: CutOut, seed: str) -> tuple[Sprite, int]:
    """Return the product turned, scaled and placed at random in a square picture, and the side of the picture.

    What the original cuts off at one of its sides stays cut off at the same side of the new picture.
    """
    rng = random.Random(seed)
    scale, angle = rng.uniform(*SCALES), rng.uniform(-TURN, TURN)
    across, down = rng.random(), rng.random()
    side = max(MIN_SIDE, min(product.alpha.shape) // 4 * 4)
    cut = _cut_off(product)
    if any(cut):
        angle *= TURN_AT_BORDER / TURN
        scale = min(0.95, scale + 0.15)
    turned = _turned(product, longer=scale * side, angle=angle)
    height, width = turned.shape[:2]
    overlap = round(0.02 * side) + abs(round(np.sin(np.radians(angle)) * max(width, height) / 2))
    left = _position(side, width, across, overlap, cut[0], cut[2])
    top = _position(side, height, down, overlap, cut[1], cut[3])
    box = (max(left, 0), max(top, 0), min(left + width, side), min(top + height, side))
    inside = turned[box[1] - top : box[3] - top, box[0] - left : box[2] - left]
    alpha = np.ascontiguousarray(inside[..., 3])
    cover = Image.fromarray((alpha * 255).astype(np.uint8)).resize(
        (max(1, alpha.shape[1] // 4), max(1, alpha.shape[0] // 4))
    )
    return Sprite(box, np.ascontiguousarray(inside[..., :3].transpose(2, 0, 1)), alpha, cover), side


def in_scene(sprite: Sprite, side: int, seed: str) -> bytes:
    """Return a JPEG of the product in a drawn scene, with shadow, light, noise and sometimes an object before it."""
    rng = random.Random(seed)
    generator = np.random.Generator(np.random.PCG64(rng.getrandbits(64)))
    picture = over(
        sprite,
        draw_background(rng, generator, side),
        shadow=rng.uniform(0.2, 0.5),
        offset=(rng.randint(-10, 10), rng.randint(0, 12)),
        softness=rng.uniform(3, 12),
    )
    image = camera(picture, rng, generator)
    if rng.random() < OBSTRUCTED:
        rng.choice(OBSTACLES)(ImageDraw.Draw(image), rng, side)
    if rng.random() < BLURRED:
        image = image.filter(ImageFilter.BoxBlur(rng.uniform(0.4, 1.2)))
    return jpeg(image, rng.randint(68, 92))


def on_white(sprite: Sprite, side: int) -> bytes:
    """Return a JPEG of the product on plain white."""
    picture = np.full((3, side, side), 255, np.float32)
    left, top, right, bottom = sprite.box
    window = picture[:, top:bottom, left:right]
    window *= 1 - sprite.alpha
    window += sprite.colour
    return jpeg(to_image(picture), WHITE_QUALITY)


def _cut_off(product: CutOut) -> tuple[bool, bool, bool, bool]:
    """Whether the product is cut off at the left, the top, the right and the bottom."""
    alpha = product.alpha
    left, top, right, bottom = (
        bool((line > 0.5).mean() > TOUCHING) for line in (alpha[:, 0], alpha[0], alpha[:, -1], alpha[-1])
    )
    return left, top, right, bottom


def _turned(product: CutOut, *, longer: float, angle: float) -> Floats:
    """Return the product with its longer side of so many pixels, turned: premultiplied float32 [height, width, 4]."""
    left, top, right, bottom = product.box
    layers = np.dstack([product.colour * product.alpha[..., None], product.alpha])[top:bottom, left:right]
    ratio = longer / max(layers.shape[:2])
    size = (max(4, round(layers.shape[1] * ratio)), max(4, round(layers.shape[0] * ratio)))
    layers = cv2.resize(layers, size, interpolation=cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR)
    turn = cv2.getRotationMatrix2D(((size[0] - 1) / 2, (size[1] - 1) / 2), angle, 1.0)
    reach = np.abs(turn[:, :2]) @ size
    width, height = int(np.ceil(reach[0])) + 2, int(np.ceil(reach[1])) + 2
    turn[:, 2] += ((width - size[0]) / 2, (height - size[1]) / 2)
    return np.asarray(cv2.warpAffine(layers, turn, (width, height), flags=cv2.INTER_LINEAR), np.float32)


def _position(side: int, length: int, drawn: float, overlap: int, at_start: bool, at_end: bool) -> int:
    """Return where the product begins on one axis. One that is cut off at one end lies `overlap` beyond the picture.

    At least two thirds of its length stay inside, so that a thin product does not vanish.
    """
    overlap = min(overlap, length // 3)
    if at_start and at_end:
        return (side - length) // 2
    if at_start:
        return -overlap
    if at_end:
        return side - length + overlap
    return round(drawn * max(side - length, 0)) if length < side else (side - length) // 2

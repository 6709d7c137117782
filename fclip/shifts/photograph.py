"""Make a poor photograph of a good picture: framing, light, blur, noise, compression."""

from __future__ import annotations

import random
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fclip.scenes.photographs import jpeg
from fclip.shifts.cut_out import Floats

MIN_SIDE = 224
"""Pixels. A picture with a smaller longer side is enlarged, so that noise and blur have the size of today's cameras."""
SMALL, OFF_CENTRE = 0.4, 0.4
"""Probabilities that the product is small in the frame, and that the frame cuts off a part of the picture."""
MIN_SHARE, MAX_SHARE = 0.45, 0.75
"""Of a picture that is small in the frame: its length as a share of the frame."""
MIN_KEPT = 0.72
"""Smallest share of the length of a picture that an off-centre frame keeps."""
BLURRED, SHAKEN, NOISY = 0.4, 0.25, 0.7
"""Probabilities of blur from the lens, of blur by motion, and of noise."""
QUALITY = (22, 65)
"""Lowest and highest quality of the JPEG."""


def photograph(image: Image.Image, seed: str) -> bytes:
    """Return a JPEG of an RGB image as a poor camera in a hurry takes it. Random choices depend on `seed` alone."""
    rng = random.Random(seed)
    generator = np.random.Generator(np.random.PCG64(rng.getrandbits(64)))
    scale = MIN_SIDE / max(image.size)
    if scale > 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BICUBIC)
    pixels = _framed(np.asarray(image, np.float32), rng)
    pixels = _lit(pixels, rng)
    pixels = _blurred(pixels, rng)
    if rng.random() < NOISY:
        pixels = pixels + generator.standard_normal(pixels.shape, np.float32) * np.float32(rng.uniform(4, 16))
    return jpeg(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), rng.randint(*QUALITY))


def _framed(pixels: Floats, rng: random.Random) -> Floats:
    """Return the picture small in a larger frame, or a part of it that is off centre, or whole."""
    height, width = pixels.shape[:2]
    drawn = rng.random()
    if drawn < SMALL:
        share = rng.uniform(MIN_SHARE, MAX_SHARE)
        small = cv2.resize(
            pixels, (max(1, round(width * share)), max(1, round(height * share))), interpolation=cv2.INTER_AREA
        )
        left, top = (round(rng.random() * free) for free in (width - small.shape[1], height - small.shape[0]))
        return _surrounded(_as_floats(small), width, height, left, top)
    if drawn < SMALL + OFF_CENTRE:
        kept = rng.uniform(MIN_KEPT, 0.92)
        right, down = (rng.choice((0.0, 1.0, rng.random())) for _ in range(2))
        left, top = round(right * (1 - kept) * width), round(down * (1 - kept) * height)
        part = pixels[top : top + max(1, round(kept * height)), left : left + max(1, round(kept * width))]
        return _as_floats(cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR))
    return pixels


def _surrounded(small: Floats, width: int, height: int, left: int, top: int) -> Floats:
    """Return the picture `small` in a frame of so many pixels, which continues its ground out of focus."""
    margins = (top, height - top - small.shape[0], left, width - left - small.shape[1])
    frame = cv2.copyMakeBorder(small, *margins, cv2.BORDER_REPLICATE)
    ground = cv2.GaussianBlur(frame, (0, 0), max(height, width) / 16)
    inside = np.zeros((height, width), np.float32)
    inside[top : top + small.shape[0], left : left + small.shape[1]] = 1
    edge = cv2.GaussianBlur(inside, (0, 0), 2)[..., None] * inside[..., None]
    return _as_floats(frame * edge + ground * (1 - edge))


def _lit(pixels: Floats, rng: random.Random) -> Floats:
    """Return the picture with another exposure and white balance, and light from one side."""
    exposure, warmth, tint = rng.uniform(0.55, 1.35), rng.gauss(0, 0.12), rng.gauss(0, 0.04)
    gains = np.array([1 + warmth, 1 + tint, 1 - warmth], np.float32) * np.float32(exposure)
    fall, along = rng.gauss(0, 0.2), rng.random() < 0.5
    ramp = np.linspace(1 - fall, 1 + fall, pixels.shape[0 if along else 1], dtype=np.float32)
    light = ramp[:, None, None] if along else ramp[None, :, None]
    return _as_floats(pixels * light * gains)


def _blurred(pixels: Floats, rng: random.Random) -> Floats:
    """Return the picture sharp, out of focus, or blurred by motion."""
    side, drawn = min(pixels.shape[:2]) / MIN_SIDE, rng.random()
    if drawn < BLURRED:
        return _as_floats(cv2.GaussianBlur(pixels, (0, 0), max(0.3, side * rng.uniform(0.7, 2.2))))
    if drawn < BLURRED + SHAKEN:
        reach = max(2, round(side * rng.uniform(3, 8)))
        kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
        angle = rng.uniform(0, np.pi)
        end = (round(reach * np.cos(angle) / 2), round(reach * np.sin(angle) / 2))
        cv2.line(kernel, (reach - end[0], reach - end[1]), (reach + end[0], reach + end[1]), 1.0)
        return _as_floats(cv2.filter2D(pixels, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE))
    return pixels


def _as_floats(pixels: NDArray[Any]) -> Floats:
    return np.asarray(pixels, np.float32)

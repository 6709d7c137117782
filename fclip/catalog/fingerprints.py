"""Fingerprints of images: a perceptual hash, a thumbnail and colour statistics.

All are computed from a 32 × 32 reduction of the stored image. The hash is the 64-bit DCT hash ("pHash": Zauner,
"Implementation and Benchmarking of Perceptual Image Hash Functions", 2010): the signs of the 8 × 8 lowest frequencies
of the luminance, relative to their median.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fclip.catalog.jpegs import shrink

SIDE = 32
HALFWAY = 5 * SIDE
THUMBNAIL_SIDE = 8
NEAR_WHITE = 243


def _cosines() -> NDArray[np.float32]:
    """Return the 8 lowest rows of the orthonormal DCT-II of length `SIDE`."""
    frequency, place = np.arange(8)[:, None], np.arange(SIDE)[None]
    rows = np.sqrt(2 / SIDE) * np.cos(np.pi * frequency * (2 * place + 1) / (2 * SIDE))
    rows[0] /= np.sqrt(2)
    return rows.astype(np.float32)


_DCT = _cosines()


def _ring() -> NDArray[np.bool_]:
    ring = np.ones((SIDE, SIDE), bool)
    ring[1:-1, 1:-1] = False
    return ring


_RING = _ring()


@dataclass(frozen=True)
class Fingerprints:
    """The fingerprints of n images.

    Attributes:
        phash: uint64 [n].
        thumbnail: uint8 [n, 192], 8 × 8 RGB.
        brightness, contrast: float32 [n], mean and standard deviation of the luminance, 0 to 1.
        saturation: float32 [n], mean of (max − min) / max over the channels, 0 to 1.
        white_border: float32 [n], share of near-white pixels in the outermost ring, 0 to 1.
    """

    phash: NDArray[np.uint64]
    thumbnail: NDArray[np.uint8]
    brightness: NDArray[np.float32]
    contrast: NDArray[np.float32]
    saturation: NDArray[np.float32]
    white_border: NDArray[np.float32]


@dataclass(frozen=True)
class Reduction:
    """The input of a fingerprint: the luminance at 32 × 32 and the thumbnail, as bytes."""

    luminance: bytes
    thumbnail: bytes


def reduce_pixels(pixels: NDArray[np.uint8]) -> Reduction:
    """Reduce an image's pixels [height, width, 3], or [height, width, 1] for a grey image."""
    if min(pixels.shape[:2]) > SIDE * 4 and max(pixels.shape[:2]) <= 2 * HALFWAY:
        pixels = shrink(pixels, HALFWAY, HALFWAY)  # intermediate size: averaging whole numbers of pixels is fast
    small = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    if small.ndim == 2:
        small = cv2.cvtColor(small, cv2.COLOR_GRAY2RGB)
    thumbnail = cv2.resize(small, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA)
    return Reduction(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).tobytes(), thumbnail.tobytes())


def fingerprint(reductions: Sequence[Reduction]) -> Fingerprints:
    """Compute the fingerprints of a batch of reductions."""
    luminance = np.frombuffer(b"".join(each.luminance for each in reductions), np.uint8)
    luminance = luminance.reshape(-1, SIDE, SIDE).astype(np.float32)
    lowest = (_DCT @ luminance @ _DCT.T).reshape(-1, 64)
    signs = lowest > np.median(lowest[:, 1:], axis=1, keepdims=True)
    thumbnail = np.frombuffer(b"".join(each.thumbnail for each in reductions), np.uint8)
    pixels = thumbnail.reshape(-1, THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3)
    highest, lowest_channel = pixels.max(3).astype(np.float32), pixels.min(3)
    return Fingerprints(
        phash=np.packbits(signs, axis=1).view(">u8").ravel().astype(np.uint64),
        thumbnail=thumbnail.reshape(len(pixels), -1),
        brightness=luminance.mean((1, 2)) / 255,
        contrast=luminance.std((1, 2)) / 255,
        saturation=((highest - lowest_channel) / np.maximum(highest, 1)).mean((1, 2)),
        white_border=(luminance[:, _RING] >= NEAR_WHITE).mean(1, dtype=np.float32),
    )

"""Cut a product out of a photograph with a plain ground of any colour.

The ground is what looks like the border of the image and is connected to it. A white product on white is hardly
different from its ground, so the search does not pass through gaps that are narrower than a few pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

MIN_SIDE = 24
"""Pixels. In a smaller image, the edge of a product is a large part of it."""
WORK_SIDE = 224
"""Pixels of the longer side at which a smaller image is cut out, so that gaps and edges have a width."""
RING = 0.02
"""Width of the ring at the border that shows the ground, as a share of the shorter side."""
MIN_PLAIN = 0.6
"""Smallest share of the ring that looks like the ground. The rest may be a product that reaches the border."""
MAX_NOISE = 3.0
"""Grey levels. With a larger median difference from its model, the ground is not plain: it is cloth, wood or stone."""
LOWEST_TOLERANCE, HIGHEST_TOLERANCE = 4.0, 12.0
"""Largest difference of the ground from its model, in grey levels: at least and at most, for a noisy ground."""
GAP = 0.014
"""Radius of the gaps in an outline that the search does not pass, as a share of the shorter side."""
SHADOW, MAX_TINT, MAX_SLOPE = 0.7, 0.04, 0.03
"""A shadow is at least this bright, relative to the ground; its colour differs at most so much from the ground's; and
its brightness changes at most so much from one pixel to the next."""
FLAT = 0.97
"""An enclosed part is ground, as in the handle of a bag, if this share of it differs by less than `LOWEST_TOLERANCE`
/ 2. A white product has shading."""
MAX_HOLE = 0.25
"""Largest share of the product that such a part may be. A larger one is the product itself, overexposed."""
MIN_GROUND, MAX_GROUND = 0.06, 0.97
"""Accepted share of the ground. Below, there is no free border; above, there is no product."""
MAX_TOUCHING, MAX_TOUCHES = 0.4, 5
"""The product may touch this share of the border, in this number of places. More is a ground with a pattern."""
SMOOTHING = 0.4
"""Pixels of the original by which an enlarged image is smoothed, against the blocks of JPEG, to find its ground."""
MAX_FITTED = 3000
"""Pixels that the ground is fitted to."""
MAX_SPECK = 0.03
"""Separate parts of less than this share of the largest part are dust, not the product."""


@dataclass(frozen=True)
class CutOut:
    """A product without its ground, in the size of its image.

    `colour` is float32 [height, width, 3] in 0..255, continued beyond the product's edge, so that it is not mixed with
    the ground. `alpha` is float32 [height, width] in 0..1.
    """

    colour: Floats
    alpha: Floats

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of the pixels that are not transparent."""
        rows, columns = np.nonzero(self.alpha > 0)
        return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def cut_out(image: Image.Image) -> CutOut | None:
    """Return the product of an image of any mode; None if its ground is not plain or no product is found on it."""
    if min(image.size) < MIN_SIDE:
        return None
    pixels, scale = _pixels(image)
    looked_at = pixels if scale == 1 else _smoothed(pixels, SMOOTHING * scale)
    found = _ground(looked_at)
    if found is None:
        return None
    ground, reached, tolerance = found
    background = _background(looked_at, ground, reached, tolerance, blur=scale)
    product = _without_specks(~background)
    border = _border(product)
    touches = int((border & ~np.roll(border, 1)).sum())
    if not MIN_GROUND <= 1 - product.mean() <= MAX_GROUND or border.mean() > MAX_TOUCHING or touches > MAX_TOUCHES:
        return None
    return _with_soft_edge(pixels, ground, product, width=0.5 + 1.5 * scale)


def _pixels(image: Image.Image) -> tuple[Floats, float]:
    """The pixels as float32 [height, width, 3], and by how much a small image was enlarged. Transparency is white."""
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers)
    rgb = image.convert("RGB")
    scale = max(1.0, WORK_SIDE / max(rgb.size))
    if scale > 1:
        size = (max(1, round(rgb.width * scale)), max(1, round(rgb.height * scale)))
        rgb = rgb.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(rgb, np.float32), scale


def _border(mask: Mask) -> Mask:
    """The pixels at the border in their order, from the top left corner clockwise, bool [pixels]."""
    return np.concatenate([mask[0], mask[1:, -1], mask[-1, -2::-1], mask[-2:0:-1, 0]])


def _ground(pixels: Floats) -> tuple[Floats, Mask, float] | None:
    """Find the ground: what it looks like behind the product, its pixels, and the largest difference between both.

    The ground is a quadratic function of the place in each channel, since light falls off from the middle or from one
    side. It is fitted to the ring at the border, then to what is connected to the border, which grows inwards.

    Returns:
        float32 [height, width, 3], bool [height, width], grey levels. None if the border is not plain.
    """
    height, width = pixels.shape[:2]
    radius = _gap(pixels)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / max(height, width) - 0.5
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], 2)
    ring = np.ones((height, width), bool)
    ring[(thick := max(2, round(RING * min(height, width)))) : -thick, thick:-thick] = False
    near = ring & (_most(np.abs(pixels - np.median(pixels[ring], axis=0))) <= 2.5 * HIGHEST_TOLERANCE)
    difference, tolerance, ground = np.zeros((height, width), np.float32), HIGHEST_TOLERANCE, pixels
    for step in range(7):
        if near[ring].mean() < MIN_PLAIN:
            return None
        used = terms if step else terms[:, :, :3]
        sample = np.flatnonzero(near)[:: max(1, int(near.sum()) // MAX_FITTED)]
        known = used.reshape(-1, used.shape[2])[sample].astype(np.float64)
        fitted = np.linalg.lstsq(known.T @ known, known.T @ pixels.reshape(-1, 3)[sample], rcond=None)[0]
        ground = (used @ fitted).clip(0, 255).astype(np.float32)
        difference = _most(np.abs(pixels - ground))
        noise = float(np.median(difference[near]))
        if step < 2:
            near = ring & (difference <= HIGHEST_TOLERANCE)
            continue
        tolerance = float(np.clip(4 * noise, LOWEST_TOLERANCE, HIGHEST_TOLERANCE))
        near = _connected_to_border(_eroded(difference <= tolerance, radius))
        if noise > MAX_NOISE or not near.any():
            return None
    return ground, near, tolerance


def _gap(pixels: Floats) -> int:
    return max(1, round(GAP * min(pixels.shape[:2])))


def _background(pixels: Floats, ground: Floats, reached: Mask, tolerance: float, *, blur: float) -> Mask:
    """Return the ground with the shadows on it and what is seen of it through the product, bool [height, width]."""
    radius = _gap(pixels)
    difference = _most(np.abs(pixels - ground))
    plain = difference <= tolerance
    reached = _grown(reached, plain, radius + 1)
    shaded = _eroded(plain | _shadows(pixels, ground, blur), 1)  # closes gaps in the outline
    reached |= _grown(_grown(reached & shaded, shaded, 10 * radius), plain | shaded, 2)
    reached = _grown(reached, _crumbs(pixels, ground, ~reached, radius), round(3 + 2 * blur))
    return reached | _holes(plain & ~reached, difference, radius, most=MAX_HOLE * (~reached).sum())


def _crumbs(pixels: Floats, ground: Floats, product: Mask, radius: int) -> Mask:
    """The thin pale parts of `product`: the dark end of a shadow, and JPEG artefacts. White cloth is not thin."""
    ratio = _relative(pixels, ground)
    thick = round(1.5 * radius)
    pale = product & (_least(ratio) > SHADOW) & (_most(ratio) - _least(ratio) < 2.5 * MAX_TINT)
    return pale & ~_grown(_eroded(pale, thick), pale, thick + 1)


def _relative(pixels: Floats, ground: Floats) -> Floats:
    """The pixels as shares of the ground, float32 [height, width, 3]."""
    return np.asarray(pixels / np.maximum(ground, 1), np.float32)


def _smoothed(pixels: Floats, sigma: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.float32)


def _most(values: Floats) -> Floats:
    """The largest of the three channels, float32 [height, width]; much faster than `max`."""
    largest: Floats = np.maximum(np.maximum(values[..., 0], values[..., 1]), values[..., 2])
    return largest


def _least(values: Floats) -> Floats:
    least: Floats = np.minimum(np.minimum(values[..., 0], values[..., 1]), values[..., 2])
    return least


def _holes(enclosed: Mask, difference: Floats, radius: int, *, most: float) -> Mask:
    """The parts of `enclosed` that are as even as the ground."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(enclosed.astype(np.uint8), connectivity=4)
    middle = _eroded(enclosed, 1)
    flat = middle & (difference <= LOWEST_TOLERANCE / 2)
    count = len(stats)
    sizes = np.bincount(labels[middle], minlength=count)
    evenness = np.bincount(labels[flat], minlength=count) / np.maximum(sizes, 1)
    holes = (evenness >= FLAT) & (sizes >= 3 * radius**2) & (sizes <= most)
    holes[0] = False
    return _grown(holes[labels], difference <= HIGHEST_TOLERANCE, 2)


def _shadows(pixels: Floats, ground: Floats, blur: float) -> Mask:
    """The pixels that are a little darker than the ground, have its colour, and change slowly."""
    ratio = _smoothed(_relative(pixels, ground), 0.8)
    grey = (ratio[..., 0] + ratio[..., 1] + ratio[..., 2]) / 3
    slope = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)) / 8
    even = (_most(ratio) - _least(ratio) < MAX_TINT) & (slope < MAX_SLOPE / blur)
    shadows: Mask = even & (grey >= SHADOW) & (grey < 1.02)
    return shadows


def _connected_to_border(mask: Mask) -> Mask:
    """The parts of `mask` that touch the border."""
    framed = np.pad(mask, 1, constant_values=True).astype(np.uint8)
    _, labels = cv2.connectedComponents(framed, connectivity=4)
    connected: Mask = labels[1:-1, 1:-1] == labels[0, 0]
    return connected


def _eroded(mask: Mask, radius: int) -> Mask:
    """`mask` without its pixels within `radius` of others. What is outside the image counts as `mask`."""
    width = radius + 1
    framed = np.pad(mask, width, constant_values=True).astype(np.uint8)
    eroded: Mask = cv2.distanceTransform(framed, cv2.DIST_L2, 5)[width:-width, width:-width] > radius
    return eroded


def _grown(mask: Mask, within: Mask, steps: int) -> Mask:
    """`mask`, grown inside `within` by `steps` pixels."""
    kernel = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    allowed = (mask | within).astype(np.uint8)
    grown = mask.astype(np.uint8)
    for _ in range(steps):
        grown = np.asarray(cv2.dilate(grown, kernel), np.uint8) & allowed
    return grown.astype(bool)


def _without_specks(product: Mask) -> Mask:
    """The product without small separate parts."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(product.astype(np.uint8), connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    kept: Mask = (areas >= max(MAX_SPECK * areas.max(initial=0), 1))[labels]
    return kept & product


def _with_soft_edge(pixels: Floats, ground: Floats, product: Mask, *, width: float) -> CutOut | None:
    """Return the product with an alpha at its edge that says how much of each pixel is ground.

    A pixel of the edge is a mixture of the ground and of the nearest colour inside the product.

    Args:
        width: how many pixels wide the edge is.
    """
    inside = cv2.distanceTransform(product.astype(np.uint8), cv2.DIST_L2, 5)
    side = 2 * int(np.ceil(width)) + 1
    middle = (inside >= cv2.dilate(inside, np.ones((side, side), np.uint8))) & (inside > 1)  # of thin parts
    core = (inside > width) | middle
    if not core.any():
        return None
    _, nearest = cv2.distanceTransformWithLabels(
        (~core).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    colour_of = np.zeros((nearest.max() + 1, 3), np.float32)
    colour_of[nearest[core]] = pixels[core]
    colour = colour_of[nearest]
    towards = colour - ground
    length = (towards**2).sum(2)
    mixed = ((pixels - ground) * towards).sum(2) / np.maximum(length, 1)
    ramp = np.clip(inside / 2, 0, 1)  # where product and ground have the same colour
    contrast = np.clip(length / 60**2, 0, 1)
    alpha = np.where(product, contrast * np.clip(mixed, 0, 1) + (1 - contrast) * ramp, 0)
    alpha = np.where(core, 1, alpha).astype(np.float32)
    return CutOut(np.where(core[..., None], pixels, colour).astype(np.float32), alpha)

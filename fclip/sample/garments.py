"""The garment of a product and its image: parts are posed, drawn at twice the size, reduced, coloured and shaded."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from fclip.sample.accessories import cap, handbag, hat, scarf
from fclip.sample.bottoms import LEGS, legs, skirt, socks
from fclip.sample.outline import Cut, Garment, GarmentPart, curves, fitted
from fclip.sample.patterns import NUM_VARIANTS, PATTERNS, PRINTS, REACH, SIDE, pattern_sheet, weave_sheet
from fclip.sample.products import Product
from fclip.sample.shoes import boots, sneakers
from fclip.sample.tops import BLOCKS, top
from fclip.scenes.backgrounds import RGB
from fclip.scenes.photographs import Box, Sprite

CUTS: dict[str, Callable[[str, Cut], Garment]] = {
    **dict.fromkeys(BLOCKS, top),
    **dict.fromkeys(LEGS, legs),
    "skirt": skirt,
    "socks": socks,
    "sneakers": sneakers,
    "boots": boots,
    "cap": cap,
    "hat": hat,
    "handbag": handbag,
    "scarf": scarf,
}
PALETTE: dict[str, RGB] = {
    "white": (238, 238, 236),
    "dark": (44, 42, 44),
    "metal": (186, 178, 160),
    "leather": (124, 84, 54),
    "stitch": (206, 148, 82),
    "skin": (214, 168, 138),
    "hair": (62, 44, 34),
    "clothes": (70, 76, 92),
    "wood": (150, 112, 74),
}


@dataclass(frozen=True)
class Pose:
    """The map from the garment frame to pixels: first `bend` and `taper`, then `matrix` and `shift`."""

    matrix: tuple[float, float, float, float]
    shift: tuple[float, float]
    bend: tuple[float, float] = (0.0, 0.0)
    taper: float = 0.0  # perspective: relative widening of the lower end
    phase: float = 0.0

    @staticmethod
    def of(
        *,
        side: int,
        scale: float,
        angle: float = 0.0,
        aspect: float = 1.0,
        x: float = 0.5,
        y: float = 0.5,
        flip: bool = False,
        bend: tuple[float, float] = (0.0, 0.0),
        taper: float = 0.0,
        phase: float = 0.0,
    ) -> Pose:
        """Return a pose with the longer side of the garment `scale` of the image side.

        The garment is rotated by `angle` degrees about (x, y).
        """
        half, turn = side * scale / 2, math.radians(angle)
        wide = half * aspect * (-1 if flip else 1)
        matrix = (wide * math.cos(turn), -half * math.sin(turn), wide * math.sin(turn), half * math.cos(turn))
        return Pose(matrix, (x * side, y * side), bend, taper, phase)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Map points of the garment frame to pixels, float64 [n, 2]."""
        x, y = points[:, 0], points[:, 1]
        wave_x = (x + self.bend[0] * np.sin(2.2 * y + self.phase)) * (1 + self.taper * y)
        wave_y = y + self.bend[1] * np.sin(2.6 * x + 1.7 * self.phase)
        a, b, c, d = self.matrix
        return np.stack([a * wave_x + b * wave_y + self.shift[0], c * wave_x + d * wave_y + self.shift[1]], axis=1)

    def sheet_coefficients(self, left: int = 0, top: int = 0) -> tuple[float, ...]:
        """Return the coefficients for `Image.transform` that lay a pattern sheet over the image from (left, top) on."""
        a, b, c, d = self.matrix
        det, unit = a * d - b * c, SIDE / (2 * REACH)
        inverse = (d / det * unit, -b / det * unit, -c / det * unit, a / det * unit)
        x, y = self.shift[0] - left, self.shift[1] - top
        return (
            inverse[0],
            inverse[1],
            SIDE / 2 - inverse[0] * x - inverse[1] * y,
            inverse[2],
            inverse[3],
            SIDE / 2 - inverse[2] * x - inverse[3] * y,
        )


def tailor(product: Product) -> Garment:
    """Return the garment of a product, fitted to the frame. All images of the product show the same garment."""
    attributes = product.attributes
    cut = Cut(
        attributes.get("sleeve", ""), attributes["length"], attributes["gender"], random.Random(product.shape_seed)
    )
    garment = fitted(CUTS[attributes["article_type"]](attributes["article_type"], cut))
    if attributes["pattern"] == "graphic" and garment.chest is not None:
        x, y, size = garment.chest
        motif = PRINTS[product.shape_seed % len(PRINTS)](x, y, size * cut.vary(0.7, 1.15))
        garment = replace(garment, parts=(*garment.parts, *motif))
    return garment


def _darker(colour: RGB, factor: float) -> RGB:
    return (min(255, int(colour[0] * factor)), min(255, int(colour[1] * factor)), min(255, int(colour[2] * factor)))


def palette_of(product: Product) -> dict[str, RGB]:
    """Return the colours of all parts of a product except its fabric."""
    rng = random.Random(product.shape_seed + 1)
    light = sum(product.rgb) > 380
    return {
        **PALETTE,
        "accent": product.accent,
        "second": (245, 244, 240) if not light else (40, 40, 46),
        "lace": rng.choice(((240, 240, 238), (40, 40, 44), product.accent)),
        "button": rng.choice((_darker(product.rgb, 0.55 if light else 1.7), (236, 230, 216), (52, 44, 40))),
        "belt": rng.choice(((96, 62, 40), (38, 36, 38), _darker(product.rgb, 0.7))),
    }


def _draw_parts(
    parts: tuple[GarmentPart, ...], pose: Pose, palette: dict[str, RGB], side: int
) -> tuple[Box, np.ndarray, np.ndarray]:
    """Return the bounding box of the parts, and in it the fabric (tone around 1, cover) and the trim (RGB, cover).

    Both are float32 [2 or 4, height, width] with premultiplied colours: the mean over 2 x 2 drawn pixels. RGB and CMYK
    are used only for their number of bands; Pillow would divide modes with an alpha band by it when reducing.
    """
    outlines = curves(parts)
    points = pose(np.concatenate(outlines))
    box = _box_of(points, side)
    size = (2 * (box[2] - box[0]), 2 * (box[3] - box[1]))
    posed = np.split(2 * (points - box[:2]), np.cumsum([len(outline) for outline in outlines])[:-1])
    fabric, trim = Image.new("RGB", size), Image.new("CMYK", size)
    on_fabric, on_trim = ImageDraw.Draw(fabric), ImageDraw.Draw(trim)
    unit = 2 * math.sqrt(abs(pose.matrix[0] * pose.matrix[3] - pose.matrix[1] * pose.matrix[2]))
    for part, outline in zip(parts, posed, strict=True):
        flat = outline.ravel().tolist()
        is_fabric = part.paint == "fabric"
        draw = on_fabric if is_fabric else on_trim
        base = (128, 128, 128) if is_fabric else palette[part.paint]

        def ink(tone: float, base: RGB = base, is_fabric: bool = is_fabric) -> tuple[int, ...]:
            shade = _darker(base, tone)
            return (shade[0], 255, 0) if is_fabric else (*shade, 255)

        if part.width is not None:
            draw.line(
                flat,
                fill=ink(part.tone),
                width=max(1, round(part.width * unit)),
                joint="curve" if part.width > 0.03 else None,
            )
            continue
        if is_fabric:
            on_trim.polygon(flat, fill=(0, 0, 0, 0))
        draw.polygon(flat, fill=ink(part.tone))
        if part.edge:
            draw.line(flat + flat[:2], fill=ink(part.tone * 0.66), width=max(1, round(0.012 * unit)))
    return box, _planes(fabric.reduce(2), (1 / 128, 1 / 255)), _planes(trim.reduce(2), (1, 1, 1, 1 / 255))


def _box_of(points: np.ndarray, side: int) -> Box:
    """The bounding box of the points in the image, with a margin for line widths, on a grid of 4 pixels."""
    low, high = points.min(axis=0) // 4 * 4 - 4, points.max(axis=0) // 4 * 4 + 8
    left, top = (int(min(max(v, 0), side - 4)) for v in low)
    right, bottom = int(min(max(high[0], left + 4), side)), int(min(max(high[1], top + 4), side))
    return left, top, right, bottom


def _planes(image: Image.Image, factors: tuple[float, ...]) -> np.ndarray:
    planes = np.asarray(image).transpose(2, 0, 1)[: len(factors)].astype(np.float32)
    for plane, factor in zip(planes, factors, strict=True):
        if factor != 1:
            plane *= np.float32(factor)
    return planes


def _overlay(sheet: Image.Image, pose: Pose, box: Box, resample: Image.Resampling) -> Image.Image:
    size = (box[2] - box[0], box[3] - box[1])
    return sheet.transform(size, Image.Transform.AFFINE, pose.sheet_coefficients(*box[:2]), resample)


def _dye(product: Product, pose: Pose, box: Box) -> np.ndarray:
    """The colour of the fabric, float32 [3, height, width] of the box, or [3, 1, 1] for plain fabric."""
    base = product.rgb
    if product.attributes["pattern"] not in PATTERNS:
        return np.array(base, dtype=np.float32)[:, None, None]
    sheet = pattern_sheet(product.attributes["pattern"], product.shape_seed % NUM_VARIANTS)
    levels = _overlay(sheet, pose, box, Image.Resampling.BILINEAR)
    stops = zip(base, product.accent, palette_of(product)["second"], strict=True)
    ramps = [np.interp(np.arange(256), (0, 128, 255), values).astype(np.uint8).tolist() for values in stops]
    return np.stack([np.asarray(levels.point(ramp)) for ramp in ramps]).astype(np.float32)


def _light(cover: Image.Image, size: tuple[int, int], generator: np.random.Generator, wrinkles: float) -> np.ndarray:
    """Brightness float32 [height, width] around 1: rounded edges, light from the upper left, folds."""
    round_off = np.asarray(cover.filter(ImageFilter.BoxBlur(2)), dtype=np.float32) / 255
    slope = np.zeros_like(round_off)
    slope[1:-1, 1:-1] = round_off[2:, 2:] - round_off[:-2, :-2]
    waves = Image.fromarray(generator.standard_normal((7, 14)).astype(np.float32))
    folds = np.asarray(waves.resize(cover.size, Image.Resampling.BICUBIC))
    light = 0.74 + 0.29 * round_off + 0.28 * slope + wrinkles * folds
    coarse = Image.fromarray(np.clip(light * 128, 0, 255).astype(np.uint8))
    return np.asarray(coarse.resize(size, Image.Resampling.BILINEAR)) * np.float32(1 / 128)


def draw_garment(
    product: Product,
    garment: Garment,
    pose: Pose,
    *,
    generator: np.random.Generator,
    side: int,
    worn: bool = False,
    wrinkles: float = 0.04,
    behind: tuple[GarmentPart, ...] = (),
) -> Sprite:
    """Draw the garment of a product for an image of `side` x `side` pixels, without a background.

    `behind` (for example a hanger) is drawn first, then the body if `worn`. `generator` places the folds.
    """
    parts = (*behind, *(garment.body if worn else ()), *garment.parts)
    box, (tone, cover), trim = _draw_parts(parts, pose, palette_of(product), side)
    visible = 1 - trim[3]
    alpha = trim[3] + cover * visible
    small = Image.fromarray((alpha * 255).astype(np.uint8)).reduce(4)
    weave = weave_sheet(product.material)
    if weave is not None:
        grain = _overlay(weave, pose, box, Image.Resampling.NEAREST)
        tone *= np.float32(0.7) + np.asarray(grain) * np.float32(0.3 / 128)
    tone *= visible
    colour = _dye(product, pose, box) * tone
    colour += trim[:3]
    colour *= _light(small, (box[2] - box[0], box[3] - box[1]), generator, wrinkles)
    return Sprite(box, np.minimum(colour, 255, out=colour), alpha, small)

"""A product's garment and its picture: vector parts, posed, drawn at twice the size, reduced, dyed and shaded."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from fclip.sample.accessories import boots, cap, handbag, hat, scarf, sneakers
from fclip.sample.bottoms import LEGS, legs, skirt, socks
from fclip.sample.outline import Cut, Garment, Part, curve, fitted
from fclip.sample.patterns import NUM_VARIANTS, PATTERNS, PRINTS, REACH, SIDE, pattern_sheet, weave_sheet
from fclip.sample.products import RGB, Product
from fclip.sample.tops import BLOCKS, top

CUTS: dict[str, Callable[[str, Cut], Garment]] = {
    **dict.fromkeys(BLOCKS, top),
    **dict.fromkeys(LEGS, legs),
    "skirt": skirt, "socks": socks, "sneakers": sneakers, "boots": boots, "cap": cap, "hat": hat, "handbag": handbag, "scarf": scarf,
}
PALETTE: dict[str, RGB] = {
    "white": (238, 238, 236), "dark": (44, 42, 44), "metal": (186, 178, 160), "leather": (124, 84, 54), "stitch": (206, 148, 82),
    "skin": (214, 168, 138), "hair": (62, 44, 34), "clothes": (70, 76, 92), "wood": (150, 112, 74),
}


@dataclass(frozen=True)
class Pose:
    """How the garment frame lies in the picture: `matrix` and `shift` map it to pixels, `bend` waves it before that."""

    matrix: tuple[float, float, float, float]
    shift: tuple[float, float]
    bend: tuple[float, float] = (0.0, 0.0)
    taper: float = 0.0  # perspective: how much wider the lower end is
    phase: float = 0.0

    @staticmethod
    def of(*, side: int, scale: float, angle: float = 0.0, aspect: float = 1.0, x: float = 0.5, y: float = 0.5, flip: bool = False,
           bend: tuple[float, float] = (0.0, 0.0), taper: float = 0.0, phase: float = 0.0) -> Pose:
        """A pose with the garment's longer side `scale` of the picture, turned by `angle` degrees about (x, y)."""
        half, turn = side * scale / 2, math.radians(angle)
        wide = half * aspect * (-1 if flip else 1)
        matrix = (wide * math.cos(turn), -half * math.sin(turn), wide * math.sin(turn), half * math.cos(turn))
        return Pose(matrix, (x * side, y * side), bend, taper, phase)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Points of the garment frame in pixels, float64 [n, 2]."""
        x, y = points[:, 0], points[:, 1]
        wave_x = (x + self.bend[0] * np.sin(2.2 * y + self.phase)) * (1 + self.taper * y)
        wave_y = y + self.bend[1] * np.sin(2.6 * x + 1.7 * self.phase)
        a, b, c, d = self.matrix
        return np.stack([a * wave_x + b * wave_y + self.shift[0], c * wave_x + d * wave_y + self.shift[1]], axis=1)

    def sheet_coefficients(self) -> tuple[float, ...]:
        """What `Image.transform` needs to lay a pattern sheet over the picture."""
        a, b, c, d = self.matrix
        det, unit = a * d - b * c, SIDE / (2 * REACH)
        inverse = (d / det * unit, -b / det * unit, -c / det * unit, a / det * unit)
        x, y = self.shift
        return (
            inverse[0], inverse[1], SIDE / 2 - inverse[0] * x - inverse[1] * y,
            inverse[2], inverse[3], SIDE / 2 - inverse[2] * x - inverse[3] * y,
        )


@dataclass(frozen=True)
class Sprite:
    """A drawn garment: premultiplied colour float32 [side, side, 3] in 0..255, alpha float32 [side, side] in 0..1."""

    colour: np.ndarray
    alpha: np.ndarray


def tailor(product: Product) -> Garment:
    """The garment of a product, fitted to its frame; the same for every photograph."""
    attributes = product.attributes
    cut = Cut(attributes.get("sleeve", ""), attributes["length"], attributes["gender"], random.Random(product.shape_seed))
    garment = fitted(CUTS[attributes["article_type"]](attributes["article_type"], cut))
    if attributes["pattern"] == "graphic" and garment.chest is not None:
        x, y, size = garment.chest
        motif = PRINTS[product.shape_seed % len(PRINTS)](x, y, size * cut.vary(0.7, 1.15))
        garment = replace(garment, parts=(*garment.parts, *motif))
    return garment


def _darker(colour: RGB, factor: float) -> RGB:
    r, g, b = (min(255, max(0, int(c * factor))) for c in colour)
    return (r, g, b)


def palette_of(product: Product) -> dict[str, RGB]:
    """The colours of everything about a product that is not its fabric."""
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


def _draw_parts(parts: tuple[Part, ...], pose: Pose, palette: dict[str, RGB], side: int) -> tuple[np.ndarray, np.ndarray]:
    """Fabric as uint8 [side, side, 2] (tone, cover), everything else as uint8 [side, side, 4]; both premultiplied."""
    fabric, trim = Image.new("LA", (2 * side, 2 * side)), Image.new("RGBA", (2 * side, 2 * side))
    on_fabric, on_trim = ImageDraw.Draw(fabric), ImageDraw.Draw(trim)
    unit = 2 * math.sqrt(abs(pose.matrix[0] * pose.matrix[3] - pose.matrix[1] * pose.matrix[2]))
    outlines = [curve(part) for part in parts]
    ends = np.cumsum([len(outline) for outline in outlines])
    posed = np.split(2 * pose(np.concatenate(outlines)), ends[:-1])
    for part, points in zip(parts, posed, strict=True):
        flat = points.ravel().tolist()
        is_fabric = part.paint == "fabric"
        draw = on_fabric if is_fabric else on_trim

        def ink(tone: float, part: Part = part, is_fabric: bool = is_fabric) -> tuple[int, ...]:
            return (min(255, int(tone * 127)), 255) if is_fabric else (*_darker(palette[part.paint], tone), 255)

        if part.width is not None:
            draw.line(flat, fill=ink(part.tone), width=max(1, round(part.width * unit)), joint="curve" if part.width > 0.03 else None)
            continue
        if is_fabric:
            on_trim.polygon(flat, fill=(0, 0, 0, 0))
        draw.polygon(flat, fill=ink(part.tone))
        if part.edge:
            draw.line(flat + flat[:2], fill=ink(part.tone * 0.66), width=max(1, round(0.012 * unit)))
    return np.asarray(fabric.reduce(2)), np.asarray(trim.reduce(2))


def _dye(product: Product, pose: Pose, side: int) -> np.ndarray:
    """The fabric's colour, float32 [side, side, 3] or [3] where it is the same everywhere."""
    base = np.asarray(product.rgb, dtype=np.float32)
    if product.attributes["pattern"] not in PATTERNS:
        return base
    sheet = pattern_sheet(product.attributes["pattern"], product.shape_seed % NUM_VARIANTS)
    levels = np.asarray(sheet.transform((side, side), Image.Transform.AFFINE, pose.sheet_coefficients(), Image.Resampling.BILINEAR))
    accent = np.asarray(product.accent, dtype=np.float32)
    second = np.asarray(palette_of(product)["second"], dtype=np.float32)
    stops = np.array([0, 128, 255], dtype=np.float32)
    ramp = np.stack([np.interp(np.arange(256), stops, [base[c], accent[c], second[c]]) for c in range(3)], axis=1)
    return np.asarray(ramp.astype(np.float32)[levels])


def _light(alpha: np.ndarray, generator: np.random.Generator, wrinkles: float, side: int) -> np.ndarray:
    """Brightness float32 [side, side] around 1: rounded edges, light from the upper left, folds."""
    cover = Image.fromarray((alpha * 255).astype(np.uint8)).reduce(2)
    round_off = np.asarray(cover.filter(ImageFilter.BoxBlur(4)), dtype=np.float32) / 255
    slope = np.zeros_like(round_off)
    slope[2:-2, 2:-2] = round_off[4:, 4:] - round_off[:-4, :-4]
    folds = generator.standard_normal((7, 14)).astype(np.float32)
    size = (side // 2, side // 2)
    folds = np.asarray(Image.fromarray(folds).resize(size, Image.Resampling.BICUBIC))
    light = 0.74 + 0.29 * round_off + 0.28 * slope + wrinkles * folds
    return np.asarray(Image.fromarray(light).resize((side, side), Image.Resampling.BILINEAR))


def draw_garment(product: Product, garment: Garment, pose: Pose, *, generator: np.random.Generator, side: int, worn: bool = False,
                 wrinkles: float = 0.04, behind: tuple[Part, ...] = ()) -> Sprite:
    """A picture of the product's garment without its surroundings.

    `behind` (a hanger, say) is drawn first, then the body if `worn`. `generator` places the folds.
    """
    palette = palette_of(product)
    parts = (*behind, *(garment.body if worn else ()), *garment.parts)
    fabric, trim = _draw_parts(parts, pose, palette, side)
    tone, cover = fabric[..., 0] * np.float32(1 / 127), fabric[..., 1] * np.float32(1 / 255)
    trim_cover = trim[..., 3] * np.float32(1 / 255)
    alpha = trim_cover + cover * (1 - trim_cover)
    weave = weave_sheet(product.material)
    if weave is not None:
        grain = weave.transform((side, side), Image.Transform.AFFINE, pose.sheet_coefficients(), Image.Resampling.BILINEAR)
        tone = tone * (np.float32(0.62) + np.asarray(grain) * np.float32(0.38 / 128))
    colour = _dye(product, pose, side) * (tone * (1 - trim_cover))[..., None] + trim[..., :3]
    colour *= _light(alpha, generator, wrinkles, side)[..., None]
    return Sprite(np.clip(colour, 0, 255, out=colour), alpha)

"""Pictures of simple products on plain grounds."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE = 128
RGB = tuple[int, int, int]


def product_on(
    ground: RGB = (255, 255, 255), product: RGB = (180, 40, 40), *, shadow: bool = False, side: int = SIDE
) -> Image.Image:
    """A shirt in the middle of a plain ground, drawn at four times its size, so that its edge is soft."""
    image = Image.new("RGB", (4 * side, 4 * side), ground)
    shirt = [(0.3, 0.25), (0.7, 0.25), (0.9, 0.45), (0.78, 0.52), (0.7, 0.45), (0.7, 0.8), (0.3, 0.8), (0.3, 0.45),
             (0.22, 0.52), (0.1, 0.45)]  # fmt: skip
    points = [(4 * side * x, 4 * side * y) for x, y in shirt]
    if shadow:
        soft = Image.new("L", image.size)
        ImageDraw.Draw(soft).polygon([(x + 10, y + 20) for x, y in points], fill=60)
        image.paste((0, 0, 0), mask=soft.filter(ImageFilter.GaussianBlur(20)))
    ImageDraw.Draw(image).polygon(points, fill=product)
    return image.resize((side, side), Image.Resampling.BOX)


def photograph(seed: int = 0, side: int = SIDE) -> Image.Image:
    """A picture without a plain ground."""
    coarse = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)

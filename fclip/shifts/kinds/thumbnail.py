"""The shift `thumbnail`: the same picture small, grey or inverted."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Literal, TypeAlias

from fclip.config import config
from fclip.shifts.kinds.registry import ShiftKind

if TYPE_CHECKING:
    from PIL import Image

Style: TypeAlias = Literal["small", "grey", "inverted"]
SIDES = (48, 96)
"""Smallest and largest longer side of a small copy, in pixels."""
QUALITY = 92
"""Quality of the JPEG, which is not the shift."""


@config
class ThumbnailConfig:
    """The picture is made small, grey or inverted, one of them at random."""

    kind: Literal["thumbnail"]
    of: tuple[Style, ...] = ("small", "grey", "inverted")
    """What the copies may be."""

    def __post_init__(self) -> None:
        if not self.of:
            raise ValueError("of must name at least one of small, grey, inverted")


def thumbnail(shift: ThumbnailConfig, image: Image.Image, seed: str) -> bytes:
    """Return `image` small, grey or inverted."""
    from PIL import Image, ImageOps  # imported here to keep the parsing of params fast

    from fclip.scenes.photographs import jpeg

    rng = random.Random(seed)
    style = rng.choice(shift.of)
    match style:
        case "small":
            small = image.copy()
            side = rng.randint(*SIDES)
            small.thumbnail((side, side), Image.Resampling.LANCZOS)
            return jpeg(small, QUALITY)
        case "grey":
            return jpeg(image.convert("L").convert("RGB"), QUALITY)
        case "inverted":
            return jpeg(ImageOps.invert(image), QUALITY)


SHIFT = ShiftKind(
    kind="thumbnail",
    label="thumbnail",
    description="The picture is made small, grey or inverted, one of them at random.",
    config=ThumbnailConfig,
    make=thumbnail,
)

"""The shift `scene`: the product, cut out of its plain ground, in a drawn scene with other light."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fclip.config import config
from fclip.shifts.kinds.registry import ShiftKind

if TYPE_CHECKING:
    from PIL import Image


@config
class SceneConfig:
    """The product is cut out, turned and scaled, and placed on another ground."""

    kind: Literal["scene"]
    ground: Literal["scene", "white"] = "scene"
    """`scene`: a drawn room, street or floor with shadow, light and noise. `white`: the same product in the same place
    on plain white, which shows what the cutting and turning alone cost."""


def scene(shift: SceneConfig, image: Image.Image, seed: str) -> bytes | None:
    """Return the product of `image` on its new ground. Both grounds place it in the same way for the same `seed`."""
    from fclip.shifts import compose  # imported here to keep the parsing of params fast
    from fclip.shifts.cut_out import cut_out

    product = cut_out(image)
    if product is None:
        return None
    sprite, side = compose.placed(product, f"{seed}/place")
    if shift.ground == "white":
        return compose.on_white(sprite, side)
    return compose.in_scene(sprite, side, f"{seed}/scene")


SHIFT = ShiftKind(
    kind="scene",
    label="in a scene",
    description="The product is cut out of its plain ground, turned, scaled, and placed in a drawn scene.",
    config=SceneConfig,
    make=scene,
    refusal="cannot be cut out, since its picture has no plain ground",
)

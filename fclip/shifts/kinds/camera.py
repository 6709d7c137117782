"""The shift `camera`: the same picture as a poor photograph of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fclip.config import config
from fclip.shifts.kinds.registry import ShiftKind

if TYPE_CHECKING:
    from PIL import Image


@config
class CameraConfig:
    """The picture is blurred, noisy, compressed, in another light, off centre or small. It has no options."""

    kind: Literal["camera"]


def camera(_: CameraConfig, image: Image.Image, seed: str) -> bytes:
    """Return `image` as a poor photograph."""
    from fclip.shifts.photograph import photograph  # imported here to keep the parsing of params fast

    return photograph(image, seed)


SHIFT = ShiftKind(
    kind="camera",
    label="poor photograph",
    description="The picture gets blur, noise, JPEG artefacts and another light, and is off centre or small.",
    config=CameraConfig,
    make=camera,
)

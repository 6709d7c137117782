"""Conversion of preprocessing configs from and to transformers' `CLIPImageProcessor`."""

import math
from collections.abc import Mapping
from typing import Any

import open_clip

from fclip.errors import UserError
from fclip.models.preprocess import Preprocess

RESAMPLING = {"bilinear": 2, "bicubic": 3}  # PIL's constants
PER_GREY_LEVEL = 1 / 255


def from_processor(stored: Mapping[str, Any], image_size: int) -> Preprocess:
    """Return the preprocessing of a stored processor config, with CLIP's defaults for missing keys.

    Args:
        image_size: input size of the model in pixels.

    Raises:
        UserError: open_clip's inference transform does not support it, or its image size is not `image_size`.
    """
    if not (stored.get("do_resize", True) and stored.get("do_rescale", True)):
        raise UserError("its preprocessing disables do_resize or do_rescale; both are required")
    if not math.isclose(factor := stored.get("rescale_factor", PER_GREY_LEVEL), PER_GREY_LEVEL):
        raise UserError(f"its preprocessing has a rescale_factor of {factor}; only 1/255 is supported")
    interpolations = {number: name for name, number in RESAMPLING.items()}
    if (resample := stored.get("resample", RESAMPLING["bicubic"])) not in interpolations:
        raise UserError(f"its preprocessing has resample {resample}; only 2 (bilinear) and 3 (bicubic) are supported")
    normalises = stored.get("do_normalize", True)
    return Preprocess(
        size=image_size,
        mean=tuple(stored.get("image_mean", open_clip.OPENAI_DATASET_MEAN)) if normalises else (0.0,) * 3,
        std=tuple(stored.get("image_std", open_clip.OPENAI_DATASET_STD)) if normalises else (1.0,) * 3,
        interpolation=interpolations[resample],
        resize_mode=_resize_mode(stored, image_size),
    )


def to_processor(preprocess: Preprocess) -> dict[str, Any]:
    """Return the content of `preprocessor_config.json` for a CLIP with this preprocessing.

    Raises:
        UserError: images are padded, which transformers' CLIP processor does not support.
    """
    side = {"height": preprocess.size, "width": preprocess.size}
    match preprocess.resize_mode:
        case "shortest":
            resize: dict[str, Any] = {"size": {"shortest_edge": preprocess.size}, "do_center_crop": True}
        case "squash":
            resize = {"size": side, "do_center_crop": False}
        case mode:
            raise UserError(
                f"its resize_mode `{mode}` pads images, which transformers' CLIP processor does not support"
            )
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        **resize,
        "crop_size": side,
        "resample": RESAMPLING[preprocess.interpolation],
        "do_rescale": True,
        "rescale_factor": PER_GREY_LEVEL,
        "do_normalize": True,
        "image_mean": list(preprocess.mean),
        "image_std": list(preprocess.std),
    }


def square_side(value: Any, name: str) -> int:
    """Return the side of a square given as a number, a pair or a mapping; raises UserError if it is not a square."""
    sides = (
        list(value.values()) if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else [value]
    )
    if not sides or not all(isinstance(side, int) and side == sides[0] for side in sides):
        raise UserError(f"its {name} is {value}; only squares are supported")
    return int(sides[0])


def _resize_mode(stored: Mapping[str, Any], image_size: int) -> str:
    size = stored.get("size", image_size)
    size = {key: side for key, side in size.items() if side} if isinstance(size, Mapping) else {"shortest_edge": size}
    crops = stored.get("do_center_crop", True)
    crop = square_side(stored.get("crop_size", image_size), "crop_size") if crops else None
    if size == {"shortest_edge": image_size} and crop == image_size:
        return "shortest"
    if size == {"height": image_size, "width": image_size} and crop in (None, image_size):
        return "squash"
    raise UserError(
        f"its preprocessing resizes to {size} and crops to {crop}, but the model's input has {image_size} pixels; "
        "resizing the shorter side or both sides to that size is supported"
    )

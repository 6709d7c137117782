"""Decoding, resizing and normalisation of images, equivalent to open_clip's inference transform, without torch."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from fclip.errors import UserError
from fclip.models.preprocess import Preprocess

RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
# A JPEG can be decoded at 1/2, 1/4 or 1/8 of its size. If that is at least twice the target size, resizing gives the
# same result except for rounding, in half the time.
DRAFT_MARGIN = 2


def decode(content: bytes, preprocess: Preprocess, *, draft: bool = False) -> NDArray[np.uint8]:
    """Decode a stored image, and resize and crop it as open_clip's inference transform does: uint8 [size, size, 3].

    Args:
        draft: decode large JPEGs at reduced resolution. This is faster, but differs from open_clip by a few grey levels
            instead of one.

    Raises:
        UserError: Pillow cannot decode the image.
    """
    with _stored(content, DRAFT_MARGIN * preprocess.size if draft else None) as image:
        return to_pixels(image, preprocess)


def to_pixels(image: Image.Image, preprocess: Preprocess) -> NDArray[np.uint8]:
    """Resize and crop an image of any mode as open_clip's inference transform does: uint8 [size, size, 3].

    Like open_clip, it resizes in the mode of the image and then converts it to RGB.
    """
    size = preprocess.size
    resized = _resize(image, preprocess)
    if preprocess.resize_mode == "longest":
        return _pad(resized.convert("RGB"), size, preprocess.fill_color)
    left, top = round((resized.width - size) / 2), round((resized.height - size) / 2)
    return np.asarray(resized.crop((left, top, left + size, top + size)).convert("RGB"))


def read_image(content: bytes, draft_side: int | None = None) -> Image.Image:
    """Decode a stored image to RGB.

    Args:
        draft_side: decode a JPEG at a reduced resolution, with sides of at least this many pixels; None for full size.

    Raises:
        UserError: Pillow cannot decode the image.
    """
    with _stored(content, draft_side) as image:
        return image.convert("RGB")


@contextmanager
def _stored(content: bytes, draft_side: int | None) -> Iterator[Image.Image]:
    """Context with a stored image; the arguments and errors are those of `read_image`."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            if draft_side is not None:
                image.draft("RGB", (draft_side, draft_side))
            yield image
    except UserError:
        raise
    except (OSError, SyntaxError, ValueError) as error:
        reason = "unknown image format" if isinstance(error, UnidentifiedImageError) else error
        raise UserError(f"a stored image cannot be decoded ({reason}); run ingest again") from error


def normalise(pixels: NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.float32]:
    """Normalise uint8 [n, height, width, 3] to float32 [n, 3, height, width]."""
    scale = np.array(preprocess.std, np.float32) * np.float32(255)
    shift = np.array(preprocess.mean, np.float32) / np.array(preprocess.std, np.float32)
    values = pixels / scale
    values -= shift
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))


def _resize(image: Image.Image, preprocess: Preprocess) -> Image.Image:
    width, height = image.size
    size = preprocess.size
    match preprocess.resize_mode:
        case "squash":
            target = (size, size)
        case "shortest":  # torchvision's Resize: the longer side is truncated
            shorter, longer = min(width, height), max(width, height)
            long_side = int(size * longer / shorter)
            target = (size, long_side) if width <= height else (long_side, size)
        case "longest":  # open_clip's ResizeKeepRatio: both sides are rounded
            ratio = max(width, height) / size
            target = (round(width / ratio), round(height / ratio))
        case _:
            raise UserError(f"unknown resize_mode {preprocess.resize_mode!r}; use shortest, longest or squash")
    return image if image.size == target else image.resize(target, RESAMPLING[preprocess.interpolation])


def _pad(image: Image.Image, size: int, fill: int) -> NDArray[np.uint8]:
    canvas = Image.new("RGB", (size, size), (fill, fill, fill))
    canvas.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
    return np.asarray(canvas)

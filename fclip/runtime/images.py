"""From images that a caller supplies to pixels, with limits for untrusted input."""

import base64
import binascii
import io
import os
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from fclip.errors import UserError
from fclip.files import read_regular
from fclip.images.pixels import to_pixels
from fclip.models.preprocess import Preprocess

ImageInput: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8]"
"""A path, the content of an image file, a Pillow image, or uint8 [height, width, 3]."""

MAX_BYTES = 256 * 2**20  # the limits of ingest
MAX_PIXELS = 50_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
DATA_ADDRESS = "data:"


def read_pixels(image: ImageInput, preprocess: Preprocess) -> NDArray[np.uint8]:
    """Return the pixels of an image at the size of a model's input: uint8 [size, size, 3].

    Raises:
        UserError: the image is missing, too large, damaged, or of an unknown format.
    """
    return _apply(image, lambda opened: to_pixels(opened, preprocess))


def read_rgb_pixels(image: ImageInput, preprocess: Preprocess) -> NDArray[np.uint8]:
    """Return the same as `read_pixels`, but convert an image to RGB before it is resized, as transformers does."""
    return _apply(image, lambda opened: to_pixels(opened.convert("RGB"), preprocess))


def _apply(image: ImageInput, transform: Callable[[Image.Image], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise UserError(f"an array of {image.dtype} {list(image.shape)}; expected uint8 [height, width, 3]")
        return transform(Image.fromarray(image))
    if isinstance(image, Image.Image):
        _require_size(image)
        return transform(image)
    if isinstance(image, bytes | bytearray | memoryview):
        return _decode(bytes(image), transform)
    if isinstance(image, str | os.PathLike):
        return _decode(read_file(Path(image)), transform)
    raise UserError(f"{type(image).__name__} is not an image; expected a path, bytes, a Pillow image or an array")


def data_address_bytes(address: str) -> bytes:
    """Return the content of a `data:` address.

    Raises:
        UserError: it is not one, or its base64 is damaged.
    """
    head, comma, body = address.partition(",")
    if not head.startswith(DATA_ADDRESS) or not comma:
        raise UserError("not a data address; expected data:image/jpeg;base64,…")
    if len(body) > MAX_BYTES * 4 // 3 + 4:
        raise UserError(f"the data address is longer than an image of {MAX_BYTES // 2**20} MiB")
    if not head.endswith(";base64"):
        return urllib.parse.unquote_to_bytes(body)
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UserError(f"the base64 of a data address is damaged ({error})") from error


def read_file(path: Path) -> bytes:
    """Return the content of an image file; raises UserError if it cannot be read or is too large."""
    try:
        content = read_regular(path, MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"{path} cannot be read ({reason})") from error
    if len(content) > MAX_BYTES:
        raise UserError(f"{path} has more than {MAX_BYTES // 2**20} MiB")
    return content


def _decode(content: bytes, transform: Callable[[Image.Image], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    if len(content) > MAX_BYTES:
        raise UserError(f"the image has {len(content)} bytes; at most {MAX_BYTES} are accepted")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _require_size(image)
            return transform(_upright(image))
    except UnidentifiedImageError as error:
        raise UserError(f"not an image of a known format; expected {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"the image has too many pixels ({error}); at most {MAX_PIXELS} are accepted") from error
    except UserError:
        raise
    except Exception as error:  # damaged files raise errors of many classes
        raise UserError(f"the image is damaged ({error})") from error


def _upright(image: Image.Image) -> Image.Image:
    """Turn an image by its EXIF orientation, as ingest does."""
    try:
        is_turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
    except Exception:  # damaged EXIF data, as in `fclip.catalog.images`: nearly all images are upright
        return image
    return ImageOps.exif_transpose(image) if is_turned else image


def _require_size(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise UserError(f"the image has {image.width} by {image.height} pixels; at most {MAX_PIXELS} are accepted")

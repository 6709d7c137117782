"""From the inputs of a request to texts and pixels. Nothing is fetched, and no path is opened."""

import base64
import binascii
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fclip.errors import UserError
from fclip.runtime.images import DATA_ADDRESS, FORMATS, data_address_bytes, read_pixels
from fclip.runtime.model import Model
from fclip.serve.errors import ServiceError
from fclip.serve.schemas import Input, Picture, Text
from fclip.serve.settings import Settings

Pixels = NDArray[np.uint8]


def split_inputs(
    given: Input | Sequence[Input | int | list[int]], *, strings_are_images: bool, settings: Settings
) -> list[str | bytes]:
    """Return each input as a text, or as the content of an image file.

    Raises:
        ServiceError: an input is neither, is too long, or there are too many.
    """
    inputs = [given] if isinstance(given, str | Text | Picture) else list(given)
    if len(inputs) > settings.max_inputs:
        raise ServiceError(f"the request has {len(inputs)} inputs; at most {settings.max_inputs} are accepted")
    result: list[str | bytes] = []
    for number, each in enumerate(inputs):
        match each:
            case Picture():
                result.append(image_bytes(each.image, f"input {number}"))
            case str() if strings_are_images:
                result.append(image_bytes(each, f"input {number}"))
            case Text():
                result.append(checked_text(each.text, f"input {number}", settings))
            case str():
                result.append(checked_text(each, f"input {number}", settings))
            case _:
                raise ServiceError(
                    f"input {number} is token ids; send the text, since models have different tokenizers"
                )
    return result


def checked_text(text: str, name: str, settings: Settings) -> str:
    """Return the text; raises ServiceError if it is empty or too long."""
    if not text.strip():
        raise ServiceError(f"{name} is empty; send a text")
    if len(text) > settings.max_text_chars:
        raise ServiceError(f"{name} has {len(text):,} characters; at most {settings.max_text_chars:,} are accepted")
    return text


def image_bytes(text: str, name: str) -> bytes:
    """Return the content of an image that is sent as base64 or as a data address.

    Raises:
        ServiceError: it is an address of another kind, or not base64.
    """
    head = text[:16].lower()
    if head.startswith(DATA_ADDRESS):
        try:
            return data_address_bytes(text)
        except UserError as error:
            raise ServiceError(f"{name}: {error}") from error
    if "://" in head:
        raise ServiceError(f"{name} is a remote address, and nothing is fetched; send the image as base64")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ServiceError(f"{name} is neither base64 nor a data address; send the content of an image file") from error


def decode(content: bytes, model: Model, name: str, settings: Settings) -> Pixels:
    """Return the pixels of an image for a model, uint8 [size, size, 3].

    Raises:
        ServiceError: it is not an image, damaged, or has too many pixels; pixels are counted before they are decoded.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
            width, height = opened.size
        if width * height > settings.max_pixels:
            raise ServiceError(
                f"{name} has {width} by {height} pixels; at most {settings.max_pixels:,} pixels are accepted", 413
            )
        return read_pixels(content, model.manifest.image)
    except UserError as error:
        raise ServiceError(f"{name}: {error}") from error
    except ServiceError:
        raise
    except Image.DecompressionBombError as error:
        raise ServiceError(f"{name} has too many pixels; at most {settings.max_pixels:,} are accepted", 413) from error
    except Exception as error:  # Pillow raises errors of many classes for damaged files
        raise ServiceError(f"{name} is not an image of a known format; expected {', '.join(FORMATS)}") from error

"""Fast decoding and encoding of plain JPEGs with libjpeg-turbo, which releases the GIL.

Pillow handles unusual and broken JPEGs (`fclip.catalog.images`).
"""

from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

COLOURS = {"YCbCr": "RGB", "Gray": "GRAY"}
# Markers in a JPEG: it may have an orientation, or be an MPO, which has further pictures after the first.
MARKS = (b"Exif\0\0", b"tiff:Orientation", b"MPF\0")
SCALES = (8, 4, 2, 1)


@dataclass(frozen=True)
class Jpeg:
    """A plain JPEG, grey or YCbCr, with the facts of its header; sizes in pixels.

    Attributes:
        marked: whether it may have an orientation or further pictures.
    """

    content: bytes
    width: int
    height: int
    colours: str
    marked: bool

    def decode(self, side: int | None = None) -> NDArray[np.uint8]:
        """Return the pixels [height, width, 3], or [height, width, 1] for a grey image.

        With `side`, decode at the smallest of 1/8, 1/4, 1/2 and 1/1 of the size whose shorter side has at least `side`
        pixels. Libjpeg's scaled transforms are faster than the full one and leave less to shrink.

        Raises:
            ValueError: the bytes are damaged or truncated.
        """
        scale = 1
        if side is not None:
            scale = next((each for each in SCALES if -(-min(self.width, self.height) // each) >= side), 1)
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            self.content, self.colours, min_width=-(-self.width // scale), min_height=-(-self.height // scale)
        )
        return pixels


def read_header(content: bytes) -> Jpeg | None:
    """Read the header of a plain JPEG. Return None for any other bytes."""
    if not content.startswith(b"\xff\xd8\xff"):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
    except ValueError:
        return None
    if colours not in COLOURS:
        return None
    return Jpeg(content, width, height, COLOURS[colours], any(mark in content for mark in MARKS))


def encode(pixels: NDArray[np.uint8], quality: int) -> bytes:
    """Encode pixels [height, width, 3 or 1] as a JPEG with chroma at half the resolution."""
    grey = pixels.shape[2] == 1
    content: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels), quality, "GRAY" if grey else "RGB", "Gray" if grey else "420"
    )
    return content


def shrink(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Shrink pixels [h, w, channels] to [height, width, channels].

    Area averaging is used in general. Linear interpolation, five times as fast, is used if neither side is more than
    halved: each pixel then still contributes to the result.
    """
    halved = pixels.shape[1] <= 2 * width and pixels.shape[0] <= 2 * height
    resized = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR if halved else cv2.INTER_AREA)
    return np.asarray(resized.reshape(height, width, pixels.shape[2]), np.uint8)

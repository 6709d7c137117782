"""JPEGs at speed: libjpeg-turbo's decoder and encoder, which other threads do not wait for.

Only for plain ones. Whatever is unusual or broken is Pillow's to read or to refuse (`fclip.catalog.images`).
"""

from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

COLOURS = {"YCbCr": "RGB", "Gray": "GRAY"}
# Before the pixels of a JPEG: how to turn it, and that it is an MPO, with other pictures behind the first.
MARKS = (b"Exif\0\0", b"tiff:Orientation", b"MPF\0")
SCALES = (8, 4, 2, 1)


@dataclass(frozen=True)
class Jpeg:
    """A JPEG whose header has been read: grey or YCbCr, sizes in pixels.

    Attributes:
        marked: it may have to be turned, or have other pictures behind it.
    """

    content: bytes
    width: int
    height: int
    colours: str
    marked: bool

    def decode(self, side: int | None = None) -> NDArray[np.uint8]:
        """The pixels [height, width, 3], or [height, width, 1] where it is grey.

        With `side`, at the smallest of 1/8, 1/4, 1/2 and 1/1 of its size that has no fewer pixels a side: the scaled
        transforms of libjpeg, which cost less than the whole one and leave less to shrink.

        Raises:
            ValueError: the bytes are damaged, or end too early.
        """
        scale = 1
        if side is not None:
            scale = next((each for each in SCALES if -(-min(self.width, self.height) // each) >= side), 1)
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            self.content, self.colours, min_width=-(-self.width // scale), min_height=-(-self.height // scale)
        )
        return pixels


def read_header(content: bytes) -> Jpeg | None:
    """The header of a plain JPEG; None where the bytes are anything else."""
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
    """A JPEG of pixels [height, width, 3 or 1], its colours at half the resolution."""
    grey = pixels.shape[2] == 1
    content: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels), quality, "GRAY" if grey else "RGB", "Gray" if grey else "420"
    )
    return content


def shrink(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Pixels [h, w, channels] as [height, width, channels], smaller.

    By means of areas; by linear interpolation, five times as fast, where neither side is more than halved: there each
    pixel still has its share in the result.
    """
    halved = pixels.shape[1] <= 2 * width and pixels.shape[0] <= 2 * height
    found = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR if halved else cv2.INTER_AREA)
    return np.asarray(found.reshape(height, width, pixels.shape[2]), np.uint8)

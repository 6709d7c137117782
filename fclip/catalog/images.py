"""Normalise one image: check it by decoding it whole, and convert it to a small, plain JPEG or PNG."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from fclip.catalog.config import ImageConfig
from fclip.catalog.fingerprints import Reduction, reduce_pixels
from fclip.catalog.jpegs import encode, read_header, shrink
from fclip.catalog.reading.files import MAX_FILE_BYTES
from fclip.catalog.rows import Refusal
from fclip.errors import printable
from fclip.files import read_regular, sha256_bytes
from fclip.images.packs import StoredImage

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")  # an MPO is opened as a JPEG
MAX_ASPECT = 20  # longer to shorter side, so that scaling by the shorter side gives no huge image
MAX_SCANS = 100  # of a JPEG: decoding one scan costs as much as a whole image; progressive JPEGs have about ten
SPARE_BYTES = 64 * 2**10  # for metadata in an image that is kept unchanged
START_OF_SCAN = b"\xff\xda"
ORIENTATION = 0x0112
# Functions that turn pixels [height, width, channels] upright, by EXIF orientation.
TURNS: dict[object, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels.swapaxes(0, 1)[:, ::-1],
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels.swapaxes(0, 1)[::-1],
}


@dataclass(frozen=True)
class NormalisedImage:
    """A stored image, the size of its source in pixels, and the input of its fingerprint."""

    stored: StoredImage
    source_width: int
    source_height: int
    reduction: Reduction


def read_image_file(path: Path) -> bytes | Refusal:
    """Return the bytes of an image file, or why it cannot be read."""
    try:
        content = read_regular(path, MAX_FILE_BYTES + 1)
        return _size_refusal(path.stat().st_size if len(content) > MAX_FILE_BYTES else 0) or content
    except OSError as error:
        return Refusal("read", "image file unreadable", f"{path.name}: {error.strerror}")


def normalise_image(content: bytes, config: ImageConfig) -> NormalisedImage | Refusal:
    """Return the normalised image of encoded bytes, or why it is refused.

    A grey or RGB JPEG or PNG is kept byte for byte if it is upright and opaque, its shorter side is at most
    `stored_side`, and it has little extra data. Any other image becomes a JPEG: turned upright by its EXIF
    orientation, transparency blended with white, CMYK and palettes converted to RGB, 16 bits reduced to 8, the shorter
    side reduced to `stored_side` (never enlarged).
    """
    if not content:
        return Refusal("decode", "unreadable image", "no bytes")
    if refusal := _size_refusal(len(content)):
        return refusal
    try:
        return _plain_jpeg(content, config) or _any_image(content, config)
    except Image.DecompressionBombError as error:
        return Refusal("decode", "image too large", str(error))
    except UnidentifiedImageError:
        known = ", ".join(FORMATS)
        return Refusal("decode", "unreadable image", f"not one of {known}: it begins with {content[:16]!r}")
    except Exception as error:  # Pillow's plugins raise many kinds of error on broken bytes
        message = printable(f"{type(error).__name__}: {error}")
        truncated = "truncat" in message.lower() or "end of file" in message.lower()
        return Refusal("decode", "truncated image" if truncated else "unreadable image", message)


def _plain_jpeg(content: bytes, config: ImageConfig) -> NormalisedImage | Refusal | None:
    """Normalise a plain JPEG. Return None for any other image and for a JPEG that may be broken."""
    jpeg = read_header(content)
    if jpeg is None:
        return None
    if refusal := _shape_refusal(jpeg.width, jpeg.height, config) or _scans_refusal(content):
        return refusal
    orientation = 1
    if jpeg.marked:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            if image.format != "JPEG":
                return None
            orientation = _orientation(image)
    small_enough = min(jpeg.width, jpeg.height) <= config.stored_side
    try:
        pixels = jpeg.decode(None if small_enough else config.stored_side)
    except ValueError:
        return None
    if small_enough and orientation == 1 and not _has_much_extra_data(content, jpeg.width, jpeg.height):
        stored = StoredImage(sha256_bytes(content), content, jpeg.width, jpeg.height)
        return NormalisedImage(stored, jpeg.width, jpeg.height, reduce_pixels(pixels))
    if not small_enough:
        pixels = shrink(pixels, *_stored_size(jpeg.width, jpeg.height, config))
    pixels = TURNS[orientation](pixels)
    return NormalisedImage(_encode(pixels, config), jpeg.width, jpeg.height, reduce_pixels(pixels))


def _any_image(content: bytes, config: ImageConfig) -> NormalisedImage | Refusal:
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        width, height = image.size
        if refusal := _shape_refusal(width, height, config):
            return refusal
        if image.format in ("JPEG", "MPO") and (refusal := _scans_refusal(content)):
            return refusal
        # A phone's MPO is a JPEG followed by previews, not an animation.
        if image.format != "MPO" and getattr(image, "is_animated", False):
            return Refusal("decode", "animated image", f"{image.format} with more than one frame")
        if _is_plain(image, config) and not _has_much_extra_data(content, width, height):
            image.load()
            stored = StoredImage(sha256_bytes(content), content, width, height)
            return NormalisedImage(stored, width, height, reduce_pixels(_pixels(image)))
        pixels = _pixels(_to_plain(_shrunk(image, config)))
        return NormalisedImage(_encode(pixels, config), width, height, reduce_pixels(pixels))


def _shape_refusal(width: int, height: int, config: ImageConfig) -> Refusal | None:
    if width * height > config.max_pixels:
        return Refusal("decode", "image too large", f"{width}x{height}, {config.max_pixels} pixels at most")
    if max(width, height) > MAX_ASPECT * min(width, height):
        return Refusal("decode", "image too narrow", f"{width}x{height}, {MAX_ASPECT} to 1 at most")
    return None


def _scans_refusal(content: bytes) -> Refusal | None:
    if (scans := content.count(START_OF_SCAN)) > MAX_SCANS:
        return Refusal("decode", "too many scans", f"{scans} in a JPEG, {MAX_SCANS} at most")
    return None


def _size_refusal(num_bytes: int) -> Refusal | None:
    if num_bytes > MAX_FILE_BYTES:
        return Refusal("decode", "image too large", f"{num_bytes} bytes, {MAX_FILE_BYTES} at most")
    return None


def _is_plain(image: Image.Image, config: ImageConfig) -> bool:
    return (
        image.format in ("JPEG", "PNG")
        and image.mode in ("RGB", "L")
        and "transparency" not in image.info
        and min(image.size) <= config.stored_side
        and _orientation(image) == 1
    )


def _has_much_extra_data(content: bytes, width: int, height: int) -> bool:
    return len(content) > 4 * width * height + SPARE_BYTES


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an image; 1 (upright) if it is missing or invalid."""
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception:  # broken EXIF data: nearly all images are upright
        return 1
    return orientation if orientation in TURNS else 1


def _stored_size(width: int, height: int, config: ImageConfig) -> tuple[int, int]:
    scale = config.stored_side / min(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _shrunk(image: Image.Image, config: ImageConfig) -> Image.Image:
    """Reduce the shorter side to at most `stored_side`. Large JPEGs are decoded at a fraction of their size."""
    if image.mode.startswith("I;16") or image.mode in ("1", "P", "PA"):
        image = _to_plain(image)  # modes that cannot be interpolated
    width, height = image.size
    if min(width, height) <= config.stored_side:
        return image
    size = _stored_size(width, height, config)
    image.draft(None, (2 * size[0], 2 * size[1]))
    return image.resize(size, Image.Resampling.HAMMING, reducing_gap=2.0)


def _to_plain(image: Image.Image) -> Image.Image:
    """Convert an image to upright, opaque, 8 bits per channel, grey or RGB."""
    if _orientation(image) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode in ("RGB", "L") and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.max(initial=0) > 255:  # 16 bits: Pillow opens them as `I` or `I;16`, depending on the format
            values = values // 257
        return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("pixels are floating-point numbers")
    if image.has_transparency_data:
        pixels = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", pixels.size, "white"), pixels).convert("RGB")
    if image.mode in ("1", "L"):
        return image.convert("L")
    return image.convert("RGB")


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    pixels = np.asarray(image, np.uint8)
    return pixels.reshape(image.height, image.width, -1)


def _encode(pixels: NDArray[np.uint8], config: ImageConfig) -> StoredImage:
    content = encode(pixels, config.jpeg_quality)
    return StoredImage(sha256_bytes(content), content, pixels.shape[1], pixels.shape[0])

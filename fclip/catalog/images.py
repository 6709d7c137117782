"""One image: checked by decoding it whole, and stored small and plain."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from fclip.catalog.config import ImageConfig
from fclip.catalog.fingerprints import Reduction, reduce
from fclip.catalog.jpegs import encode, read_header, shrink
from fclip.catalog.reading.files import MAX_FILE_BYTES
from fclip.catalog.rows import Refusal
from fclip.errors import printable
from fclip.files import read_regular, sha256_bytes
from fclip.images.packs import StoredImage

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")  # an MPO is opened as a JPEG
MAX_ASPECT = 20  # longer to shorter side: what is scaled by its shorter side must not become huge
MAX_SCANS = 100  # of a JPEG, each of which is as much work as a whole image; progressive ones have about ten
SPARE_BYTES = 64 * 2**10  # metadata in an image that is kept as it is
START_OF_SCAN = b"\xff\xda"
ORIENTATION = 0x0112
# What turns pixels [height, width, channels] upright, by the value of EXIF's orientation.
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
class NormalImage:
    """An image as it is stored, its size in pixels as it came, and what its fingerprints are made of."""

    stored: StoredImage
    source_width: int
    source_height: int
    reduction: Reduction


def read_image_file(path: Path) -> bytes | Refusal:
    """The bytes of an image file, or why there are none."""
    try:
        content = read_regular(path, MAX_FILE_BYTES + 1)
        return _size_refusal(path.stat().st_size if len(content) > MAX_FILE_BYTES else 0) or content
    except OSError as error:
        return Refusal("read", "image file unreadable", f"{path.name}: {error.strerror}")


def normalise_image(content: bytes, config: ImageConfig) -> NormalImage | Refusal:
    """What is stored of an encoded image, or why it is refused.

    A grey or RGB JPEG or PNG that is upright, opaque, no larger than `stored_side` and not laden with other things is
    kept byte for byte. Any other becomes a JPEG: turned upright by its EXIF orientation, transparency laid on white,
    CMYK and palettes to RGB, 16 bits to 8, the shorter side brought down to `stored_side` (never up).
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
        return Refusal("decode", "unreadable image", f"none of {known}: it begins with {content[:16]!r}")
    except Exception as error:  # Pillow's plugins raise whatever broken bytes lead them to
        message = printable(f"{type(error).__name__}: {error}")
        truncated = "truncat" in message.lower() or "end of file" in message.lower()
        return Refusal("decode", "truncated image" if truncated else "unreadable image", message)


def _plain_jpeg(content: bytes, config: ImageConfig) -> NormalImage | Refusal | None:
    """What is stored of a plain JPEG; None for any other image, and for one that may be broken."""
    jpeg = read_header(content)
    if jpeg is None:
        return None
    if refusal := _shape_refusal(jpeg.width, jpeg.height, config) or _scans_refusal(content):
        return refusal
    turned = 1
    if jpeg.marked:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            if image.format != "JPEG":
                return None
            turned = _orientation(image)
    fine = min(jpeg.width, jpeg.height) <= config.stored_side
    try:
        pixels = jpeg.decode(None if fine else config.stored_side)
    except ValueError:
        return None
    if fine and turned == 1 and not _is_laden(content, jpeg.width, jpeg.height):
        stored = StoredImage(sha256_bytes(content), content, jpeg.width, jpeg.height)
        return NormalImage(stored, jpeg.width, jpeg.height, reduce(pixels))
    if not fine:
        pixels = shrink(pixels, *_stored_size(jpeg.width, jpeg.height, config))
    pixels = TURNS[turned](pixels)
    return NormalImage(_encode(pixels, config), jpeg.width, jpeg.height, reduce(pixels))


def _any_image(content: bytes, config: ImageConfig) -> NormalImage | Refusal:
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        width, height = image.size
        if refusal := _shape_refusal(width, height, config):
            return refusal
        if image.format in ("JPEG", "MPO") and (refusal := _scans_refusal(content)):
            return refusal
        # A phone's MPO is a JPEG with previews behind it, not a film.
        if image.format != "MPO" and getattr(image, "is_animated", False):
            return Refusal("decode", "animated image", f"{image.format} of more than one frame")
        if _is_fine(image, config) and not _is_laden(content, width, height):
            image.load()
            stored = StoredImage(sha256_bytes(content), content, width, height)
            return NormalImage(stored, width, height, reduce(_pixels(image)))
        pixels = _pixels(_plain(_shrunk(image, config)))
        return NormalImage(_encode(pixels, config), width, height, reduce(pixels))


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


def _is_fine(image: Image.Image, config: ImageConfig) -> bool:
    return (
        image.format in ("JPEG", "PNG")
        and image.mode in ("RGB", "L")
        and "transparency" not in image.info
        and min(image.size) <= config.stored_side
        and _orientation(image) == 1
    )


def _is_laden(content: bytes, width: int, height: int) -> bool:
    return len(content) > 4 * width * height + SPARE_BYTES


def _orientation(image: Image.Image) -> int:
    """How an image is to be turned, as EXIF counts the ways: 1, not at all, where it does not say so properly."""
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception:  # as above; nobody knows then which way is up, and nearly always it is up
        return 1
    return orientation if orientation in TURNS else 1


def _stored_size(width: int, height: int, config: ImageConfig) -> tuple[int, int]:
    scale = config.stored_side / min(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _shrunk(image: Image.Image, config: ImageConfig) -> Image.Image:
    """The image with its shorter side `stored_side` at most; large JPEGs are decoded at a fraction of their size."""
    if image.mode.startswith("I;16") or image.mode in ("1", "P", "PA"):
        image = _plain(image)  # modes that cannot be interpolated
    width, height = image.size
    if min(width, height) <= config.stored_side:
        return image
    size = _stored_size(width, height, config)
    image.draft(None, (2 * size[0], 2 * size[1]))
    return image.resize(size, Image.Resampling.HAMMING, reducing_gap=2.0)


def _plain(image: Image.Image) -> Image.Image:
    """The image upright, opaque, 8 bits a channel, grey or RGB."""
    if _orientation(image) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode in ("RGB", "L") and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.max(initial=0) > 255:  # 16 bits, which Pillow opens as `I` or `I;16` by the format
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

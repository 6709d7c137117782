"""Normalisation of single images: kept, converted, or refused with a reason."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageOps

from fclip.catalog.config import ImageConfig
from fclip.catalog.images import NormalisedImage, normalise_image, read_image_file
from fclip.catalog.rows import Refusal
from fclip.images.packs import StoredImage
from tests.fclip.catalog.test_near_duplicates import photograph

CONFIG = ImageConfig(stored_side=64, max_pixels=1_000_000, jpeg_quality=92)


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(mode: str = "RGB", size: tuple[int, int] = (48, 40)) -> Image.Image:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def stored(content: bytes) -> tuple[StoredImage, Image.Image]:
    result = normalise_image(content, CONFIG)
    assert isinstance(result, NormalisedImage), result
    kept = result.stored
    image = Image.open(io.BytesIO(kept.content))
    assert image.size == (kept.width, kept.height)
    return kept, image


@pytest.mark.parametrize(("mode", "kind"), [("RGB", "JPEG"), ("L", "JPEG"), ("RGB", "PNG"), ("L", "PNG")])
def test_plain_images_are_kept_byte_for_byte(mode: str, kind: str) -> None:
    content = encoded(noise(mode), kind)
    assert stored(content)[0].content == content


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("size", [(900, 600), (100, 130)])
def test_large_images_are_reduced_by_their_shorter_side(kind: str, size: tuple[int, int]) -> None:
    _, image = stored(encoded(Image.new("RGB", size, "teal"), kind))
    assert image.format == "JPEG"
    assert min(image.size) == 64
    assert image.size[0] / image.size[1] == pytest.approx(size[0] / size[1], rel=0.02)
    assert np.abs(np.asarray(image).astype(int) - [0, 128, 128]).max() <= 3


def test_small_images_are_not_enlarged() -> None:
    assert stored(encoded(noise(size=(20, 10)), "GIF"))[1].size == (20, 10)


@pytest.mark.parametrize("side", [60, 600])
def test_exif_orientation_is_applied(side: int) -> None:
    image = Image.new("RGB", (side, side // 2), "white")
    image.paste("black", (0, 0, side // 2, side // 2))  # the left half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: left becomes top
    _, upright = stored(encoded(image, exif=exif.tobytes()))
    assert upright.size[1] == 2 * upright.size[0]
    pixels = np.asarray(upright.convert("L"))
    assert pixels[: len(pixels) // 3].mean() < 20
    assert pixels[-len(pixels) // 3 :].mean() > 235
    assert upright.getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(60, 50), (300, 200)])
def test_every_orientation_gives_the_same_pixels_as_pillow(orientation: int, size: tuple[int, int]) -> None:
    corners = Image.fromarray(np.array([[[250, 0, 0], [0, 250, 0]], [[0, 0, 250], [200, 200, 200]]], np.uint8))
    image = corners.resize(size, Image.Resampling.NEAREST)
    exif = Image.Exif()
    exif[0x0112] = orientation
    kept, upright = stored(encoded(image, exif=exif.tobytes(), quality=95))
    image.getexif()[0x0112] = orientation
    expected = ImageOps.exif_transpose(image).resize(upright.size)
    assert max(abs(a / b - c / d) for a, b, c, d in [(*upright.size, *expected.size)]) < 0.03
    difference = np.abs(np.asarray(upright).astype(int) - np.asarray(expected))
    assert np.median(difference) <= 3
    assert difference.mean() < 12
    assert (kept.content == encoded(image, exif=exif.tobytes(), quality=95)) == (orientation == 1 and size[1] <= 64)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("side", [64, 65, 100, 127, 128, 129, 300, 700])
def test_jpeg_is_shrunk_like_area_averaging(mode: str, side: int) -> None:
    picture = photograph(3, (side, side * 4 // 3)).convert(mode)
    _, image = stored(encoded(picture, quality=95, progressive=side % 2 == 0))
    assert image.size == (64, round(64 * (side * 4 // 3) / side))
    assert image.mode == mode
    reference = np.asarray(picture.resize(image.size, Image.Resampling.BOX).convert("L"), float)
    error = ((np.asarray(image.convert("L"), float) - reference) ** 2).mean()
    assert error < 40  # a peak signal-to-noise ratio of 32 dB


def test_damaged_jpeg_falls_back_to_pillow() -> None:
    content = bytearray(encoded(noise(size=(200, 160)), quality=80, restart_marker_blocks=20))
    place = content.index(b"\xff\xd3") + 1
    content[place] = 0xD7  # a restart marker out of order makes the decoder warn
    with pytest.raises(ValueError, match=r"orrupt|restart|premature"):
        simplejpeg.decode_jpeg(bytes(content))
    assert min(stored(bytes(content))[1].size) == 64


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("side", [40, 400])
def test_transparency_is_blended_with_white(mode: str, side: int) -> None:
    image = Image.new("RGBA", (side, side), (0, 0, 0, 0)).convert(mode)
    assert np.asarray(stored(encoded(image, "PNG"))[1]).min() >= 254


def test_transparent_palette_is_blended_with_white() -> None:
    image = Image.new("P", (200, 200), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    _, opaque = stored(encoded(image, "PNG", transparency=0))
    assert np.asarray(opaque).min() >= 254


def test_cmyk_becomes_rgb() -> None:
    _, image = stored(encoded(Image.new("RGB", (40, 40), (200, 30, 40)).convert("CMYK"), "JPEG"))
    assert image.mode == "RGB"
    assert np.abs(np.asarray(image).astype(int) - [200, 30, 40]).max() <= 4


@pytest.mark.parametrize("side", [32, 320])
def test_sixteen_bit_image_becomes_eight_bit(side: int) -> None:
    values = np.full((side, side), 40_000, np.uint16)
    _, image = stored(encoded(Image.fromarray(values), "PNG"))
    assert image.mode == "L"
    assert np.abs(np.asarray(image).astype(int) - 40_000 // 257).max() <= 1


def test_bilevel_image_becomes_grey() -> None:
    _, image = stored(encoded(Image.new("1", (200, 200), 1), "PNG"))
    assert (image.mode, np.asarray(image).min()) == ("L", 255)


def refused(content: bytes, config: ImageConfig = CONFIG) -> Refusal:
    result = normalise_image(content, config)
    assert isinstance(result, Refusal), result
    assert result.stage == "decode"
    return result


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("size", [(48, 40), (400, 300)])
def test_truncated_images_are_refused(kind: str, size: tuple[int, int]) -> None:
    content = encoded(noise(size=size), kind)
    assert refused(content[: len(content) // 2]).reason == "truncated image"


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animated_images_are_refused(kind: str) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "green", "blue")]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert refused(content).reason == "animated image"


@pytest.mark.parametrize(
    "content", [b"", b"not an image", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\x89PNG\r\n"]
)
def test_bytes_that_are_not_an_image_are_refused(content: bytes) -> None:
    assert refused(content).reason in ("unreadable image", "truncated image")


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    result = refused(encoded(Image.new("1", (20_000, 20_000)), "PNG"))
    assert result.reason == "image too large"
    assert refused(encoded(Image.new("L", (1001, 1000)))).detail == "1001x1000, 1000000 pixels at most"


def test_image_file_is_read(tmp_path: Path) -> None:
    content = encoded(noise())
    (tmp_path / "a.jpg").write_bytes(content)
    assert read_image_file(tmp_path / "a.jpg") == content
    assert read_image_file(tmp_path) == Refusal("read", "image file unreadable", f"{tmp_path.name}: Is a directory")

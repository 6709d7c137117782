"""Pixels against open_clip's own inference transform."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from fclip.errors import UserError
from fclip.images.pixels import decode, normalise
from fclip.models.store import Preprocess

PREPROCESS = Preprocess(size=64, mean=(0.48, 0.46, 0.41), std=(0.27, 0.26, 0.28))


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng(width * height)
    coarse = rng.integers(0, 256, (height // 6 + 1, width // 6 + 1, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("size", [(64, 64), (224, 224), (224, 301), (180, 60), (64, 99), (65, 64), (31, 40)])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
def test_pixels_equal_open_clips_transform(size: tuple[int, int], interpolation: str, resize_mode: str) -> None:
    from open_clip.transform import image_transform

    preprocess = replace(PREPROCESS, interpolation=interpolation, resize_mode=resize_mode, fill_color=127)
    theirs = image_transform(
        64,
        is_train=False,
        mean=preprocess.mean,
        std=preprocess.std,
        interpolation=interpolation,
        resize_mode=resize_mode,
        fill_color=127,
    )
    image = picture(*size)
    content = encoded(image, "JPEG")
    pixels = decode(content, preprocess)
    assert pixels.shape == (64, 64, 3)
    assert pixels.dtype == np.uint8
    ours = normalise(torch.from_numpy(pixels)[None], preprocess)[0]
    expected = theirs(Image.open(io.BytesIO(content)))
    std = torch.tensor(preprocess.std).view(3, 1, 1)
    assert ((ours - expected) * std * 255).abs().max() <= 1.001


def test_grey_is_three_equal_channels() -> None:
    pixels = decode(encoded(picture(80, 70, "L")), PREPROCESS)
    assert (pixels[..., 0] == pixels[..., 1]).all()
    assert (pixels[..., 0] == pixels[..., 2]).all()


def test_transparency_is_laid_on_white() -> None:
    assert (decode(encoded(Image.new("RGBA", (64, 64), (255, 0, 0, 0))), PREPROCESS) == 255).all()


def test_sixteen_bits_are_brought_to_eight() -> None:
    deep = Image.fromarray(np.full((64, 64), 257 * 128, np.uint16))
    assert (decode(encoded(deep), PREPROCESS) == 128).all()


def test_orientation_is_applied() -> None:
    image = Image.new("RGB", (64, 64), "black")
    image.paste("white", (0, 0, 64, 20))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    pixels = decode(encoded(image, "JPEG", exif=exif), PREPROCESS)
    assert pixels[:10].mean() < 20
    assert pixels[-10:].mean() > 235


@pytest.mark.parametrize("content", [b"", b"not an image", encoded(picture(200, 200), "JPEG")[:900]])
def test_what_is_no_whole_image_is_refused(content: bytes) -> None:
    with pytest.raises(UserError, match="cannot be decoded"):
        decode(content, PREPROCESS)


def test_normalise_keeps_its_input() -> None:
    batch = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8)
    before = batch.clone()
    values = normalise(batch, PREPROCESS)
    assert values.shape == (3, 3, 64, 64)
    assert values.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch, before)

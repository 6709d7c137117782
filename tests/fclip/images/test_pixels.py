"""Decoding and normalisation of images, compared with open_clip."""

import io

import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image, ImageOps

from fclip.errors import UserError
from fclip.images.pixels import decode, normalise
from fclip.images.tensors import normalise as normalise_tensor
from fclip.models.preprocess import Preprocess
from fclip.runtime.images import read_pixels


def picture(width: int, height: int, mode: str = "RGB", form: str = "JPEG") -> bytes:
    noise = np.random.default_rng(width * height).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).convert(mode)
    out = io.BytesIO()
    image.save(out, form, quality=90)
    return out.getvalue()


@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("shape", [(60, 80), (224, 224), (301, 200), (97, 48)])
def test_equals_open_clips_transform_within_a_grey_level(
    resize_mode: str, interpolation: str, shape: tuple[int, int]
) -> None:
    ours = Preprocess(
        size=64, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), interpolation=interpolation, resize_mode=resize_mode
    )
    theirs = image_transform_v2(
        PreprocessCfg(size=64, mean=ours.mean, std=ours.std, interpolation=interpolation, resize_mode=resize_mode),
        is_train=False,
    )
    content = picture(*shape)
    expected = theirs(Image.open(io.BytesIO(content)))
    decoded = decode(content, ours)[None]
    grey_levels = torch.tensor(ours.std).view(3, 1, 1) * 255
    for pixels in (torch.from_numpy(normalise(decoded, ours))[0], normalise_tensor(decoded, ours)[0]):
        assert ((pixels - expected).abs() * grey_levels).max() <= 1.01


@pytest.mark.parametrize(("mode", "form"), [
    ("RGB", "JPEG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("turned", "JPEG"), ("RGB", "PNG"), ("RGBA", "PNG"),
    ("LA", "PNG"), ("P", "PNG"), ("1", "PNG"), ("I;16", "PNG"), ("I;16", "TIFF"), ("RGB", "WEBP"),
])  # fmt: skip
def test_every_kind_of_image_equals_open_clips_transform(mode: str, form: str) -> None:
    if mode == "I;16":
        values = np.random.default_rng(0).integers(0, 2**16, (70, 50), dtype=np.uint16)
        image = Image.fromarray(values)
    else:
        image = Image.open(io.BytesIO(picture(70, 50))).convert("RGB" if mode == "turned" else mode)
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6 if mode == "turned" else 1
    image.save(buffer, form, **({"exif": exif} if form == "JPEG" else {}))
    ours = Preprocess(size=32, mean=(0.5,) * 3, std=(0.5,) * 3)
    theirs = image_transform_v2(PreprocessCfg(size=32, mean=ours.mean, std=ours.std), is_train=False)
    stored = Image.open(io.BytesIO(buffer.getvalue()))
    upright = ImageOps.exif_transpose(stored)  # ingest stores upright images, and the runtime turns those of a user
    for pixels, image in ((decode(buffer.getvalue(), ours), stored), (read_pixels(buffer.getvalue(), ours), upright)):
        found = torch.from_numpy(normalise(pixels[None], ours))[0]
        assert ((found - theirs(image)).abs() * 127.5).max() <= 1.01


def test_grey_images_are_converted_to_rgb() -> None:
    preprocess = Preprocess(size=32, mean=(0.5,) * 3, std=(0.5,) * 3)
    pixels = decode(picture(40, 50, "L", "PNG"), preprocess)
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    assert (pixels[..., 0] == pixels[..., 2]).all()


def test_draft_decoding_differs_slightly() -> None:
    preprocess = Preprocess(size=32, mean=(0.5,) * 3, std=(0.5,) * 3)
    content = picture(320, 320)
    exact, draft = decode(content, preprocess).astype(int), decode(content, preprocess, draft=True).astype(int)
    assert np.abs(exact - draft).mean() < 2


def test_damaged_images_are_a_user_error() -> None:
    with pytest.raises(UserError, match="cannot be decoded"):
        decode(picture(64, 64)[:200], Preprocess(size=32, mean=(0.5,) * 3, std=(0.5,) * 3))

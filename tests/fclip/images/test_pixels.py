"""Decoding and normalisation of images, compared with open_clip."""

import io

import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from fclip.errors import UserError
from fclip.images.pixels import decode, normalise
from fclip.models.preprocess import Preprocess


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
    pixels = normalise(decode(content, ours)[None], ours)[0]
    grey_levels = torch.tensor(ours.std).view(3, 1, 1) * 255
    assert ((pixels - expected).abs() * grey_levels).max() <= 1.01


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

"""A product is cut out of a plain ground of any colour, and of nothing else."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from fclip.shifts.cut_out import CutOut, cut_out
from tests.fclip.shifts.pictures import RGB, photograph, product_on


def share(found: CutOut) -> float:
    return float(found.alpha.mean())


def overlap(found: CutOut, truth: Image.Image) -> float:
    """Intersection over union of the cut-out and the pixels of `truth` that differ from its corner."""
    mask = np.asarray(truth.resize(found.alpha.shape[::-1], Image.Resampling.BICUBIC), np.float32)
    shirt = np.abs(mask - mask[0, 0]).max(2) > 40
    own = found.alpha > 0.5
    return float((own & shirt).sum() / (own | shirt).sum())


@pytest.mark.parametrize("ground", [(255, 255, 255), (232, 230, 226), (90, 140, 190), (0, 0, 0)])
def test_any_plain_ground(ground: RGB) -> None:
    image = product_on(ground)
    found = cut_out(image)
    assert found is not None
    assert overlap(found, image) > 0.95


def test_the_shadow_goes_and_the_edge_has_no_halo() -> None:
    found = cut_out(product_on(shadow=True))
    assert found is not None
    assert overlap(found, product_on()) > 0.92
    on_black = found.colour * found.alpha[..., None]
    edge = (found.alpha > 0.1) & (found.alpha < 0.9)
    assert edge.any()
    assert (on_black[edge][:, 1] > 120).mean() < 0.03  # the shirt has a green channel of 40, the ground of 255


def test_a_pale_product_on_white_stays_whole() -> None:
    found = cut_out(product_on(product=(236, 233, 228)))
    assert found is not None
    assert overlap(found, product_on()) > 0.9


def test_the_ground_may_be_darker_at_one_side_and_noisy() -> None:
    pixels = np.asarray(product_on((236, 236, 236)), np.float32) * np.linspace(1, 0.88, 128)[:, None, None]
    noisy = pixels + np.random.default_rng(0).normal(0, 1.0, pixels.shape)
    found = cut_out(Image.fromarray(noisy.clip(0, 255).astype(np.uint8)))
    assert found is not None
    assert overlap(found, product_on()) > 0.92


def test_the_ground_is_seen_through_a_handle() -> None:
    image = Image.new("RGB", (160, 160), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((30, 80, 130, 140), fill=(40, 60, 120))
    draw.ellipse((55, 30, 105, 110), outline=(40, 60, 120), width=10)
    draw.rectangle((30, 80, 130, 140), fill=(40, 60, 120))
    found = cut_out(image)
    assert found is not None
    assert found.alpha[round(60 / 160 * found.alpha.shape[0]), found.alpha.shape[1] // 2] == 0


@pytest.mark.parametrize(
    "image",
    [
        photograph(),
        Image.new("RGB", (128, 128), "white"),
        Image.new("RGB", (128, 128), (30, 90, 60)),
        product_on(side=16),
        Image.new("RGB", (1, 400), "red"),
        product_on().crop((40, 40, 90, 90)),  # the product fills the picture
    ],
    ids=["no plain ground", "white alone", "one colour", "tiny", "a line", "no ground"],
)
def test_what_cannot_be_cut_out(image: Image.Image) -> None:
    assert cut_out(image) is None


@pytest.mark.parametrize("mode", ["RGBA", "CMYK", "L", "P", "LA"])
def test_every_mode_is_read(mode: str) -> None:
    found = cut_out(product_on(product=(60, 60, 60)).convert(mode))
    assert found is not None
    assert 0.1 < share(found) < 0.5


def test_transparency_is_a_white_ground() -> None:
    image = product_on().convert("RGBA")
    image.putalpha(Image.eval(image.getchannel("G"), lambda green: 0 if green > 200 else 255))
    found = cut_out(image)
    assert found is not None
    assert overlap(found, product_on()) > 0.9


def test_a_small_picture_is_enlarged() -> None:
    found = cut_out(product_on(side=60))
    assert found is not None
    assert found.alpha.shape == (224, 224)

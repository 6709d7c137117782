"""Every kind of shift: deterministic, a readable JPEG, and different for different seeds."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fclip.config import parse_config
from fclip.errors import UserError
from fclip.shifts.config import DeriveConfig
from fclip.shifts.kinds.registry import ShiftConfig, shift_kinds
from tests.fclip.shifts.pictures import photograph, product_on


def shift(kind: str, **options: Any) -> ShiftConfig:
    values = {"datasets": {"copies": {"of": "studio", "shift": {"kind": kind, **options}}}}
    return parse_config(values, DeriveConfig, where="params.yaml", section="derive").datasets["copies"].shift


def make(config: ShiftConfig, image: Image.Image, seed: str = "0/a") -> bytes | None:
    return shift_kinds()[config.kind].make(config, image, seed)


def pixels(content: bytes | None) -> np.ndarray:
    assert content is not None
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.mode) == ("JPEG", "RGB")
        return np.asarray(image, np.float32)


EVERY = [shift("scene"), shift("scene", ground="white"), shift("camera"), shift("thumbnail")]


@pytest.mark.parametrize("config", EVERY, ids=["scene", "white", "camera", "thumbnail"])
def test_a_copy_depends_on_the_seed_alone(config: ShiftConfig) -> None:
    first = make(config, product_on())
    assert first == make(config, product_on())
    assert len({make(config, product_on(), f"0/{number}") for number in range(12)}) > 2
    assert first != make(config, product_on(product=(20, 90, 40)))
    pixels(first)


def test_both_grounds_of_a_scene_have_the_product_in_the_same_place() -> None:
    """On white, what is not white is the product; in the scene, the same pixels are red."""
    for seed in ("0/a", "0/b", "0/c"):
        white = pixels(make(shift("scene", ground="white"), product_on(), seed))
        scene = pixels(make(shift("scene"), product_on(), seed))
        assert white.shape == scene.shape == (224, 224, 3)
        product = white[..., 1] < 120
        assert 0.03 < product.mean() < 0.5
        red = scene[..., 0] > 1.5 * scene[..., 1]
        assert red[product].mean() > 0.75  # an object may lie before it
        assert white[~product & (white[..., 1] > 200)].mean() > 250


def test_what_the_picture_cuts_off_stays_at_the_edge() -> None:
    image = product_on().crop((0, 0, 128, 90))  # the lower part of the shirt is missing
    for number in range(5):
        white = pixels(make(shift("scene", ground="white"), image, f"0/{number}"))
        assert (white[-2:, :, 1] < 120).any()


@pytest.mark.parametrize("side", ["left", "top", "right", "bottom"])
def test_a_thin_product_at_the_edge_of_a_long_picture_stays_visible(side: str) -> None:
    strap = np.full((2000, 500, 3), 255, np.uint8)
    strap[100:1900, :25] = (150, 30, 40)
    turned = np.rot90(strap, ["left", "bottom", "right", "top"].index(side))
    for number in range(2):
        white = pixels(make(shift("scene", ground="white"), Image.fromarray(turned.copy()), f"0/{number}"))
        strip = {"left": white[:, :2], "right": white[:, -2:], "top": white[:2], "bottom": white[-2:]}[side]
        assert (strip[..., 1] < 120).any()
        assert (white[..., 1] < 120).sum() > 1000


def test_a_scene_needs_a_plain_ground() -> None:
    assert make(shift("scene"), photograph()) is None
    assert "plain ground" in (shift_kinds()["scene"].refusal or "")


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (60, 80), (400, 300)])
def test_camera_and_thumbnail_take_every_picture(size: tuple[int, int]) -> None:
    for number in range(12):
        for config in (shift("camera"), shift("thumbnail")):
            assert pixels(make(config, photograph().resize(size), f"0/{number}")).size


def test_a_thumbnail_is_what_params_say() -> None:
    small = pixels(make(shift("thumbnail", of=["small"]), product_on()))
    assert 48 <= max(small.shape) <= 96
    grey = pixels(make(shift("thumbnail", of=["grey"]), product_on()))
    assert grey.std(axis=2).max() < 2
    inverted = pixels(make(shift("thumbnail", of=["inverted"]), product_on()))
    assert inverted[0, 0].max() < 10
    with pytest.raises(UserError, match="of must name at least one of small, grey, inverted"):
        shift("thumbnail", of=[])


def test_faults_of_the_section() -> None:
    with pytest.raises(UserError, match="`kind` must be one of camera, scene, thumbnail"):
        shift("rain")
    values = {"datasets": {"My copies": {"of": "studio", "shift": {"kind": "camera"}}}}
    with pytest.raises(UserError, match="names of a-z, 0-9"):
        parse_config(values, DeriveConfig, where="params.yaml", section="derive")

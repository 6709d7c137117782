"""Image augmentation on tensors."""

from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from fclip.training.augment import augment, change_colours, product_squares, sample_augmentation
from fclip.training.config import AugmentConfig

ALL: dict[str, Any] = {
    "min_crop_area": 0.4,
    "flip": True,
    "colour_jitter": 0.4,
    "greyscale": 0.2,
    "background": 0.6,
    "thumbnail": 0.3,
    "invert": 0.3,
}


def make_config(**changes: Any) -> AugmentConfig:
    values = {
        "min_crop_area": 1.0,
        "flip": False,
        "colour_jitter": 0.0,
        "greyscale": 0.0,
        "background": 0.0,
        "thumbnail": 0.0,
        "invert": 0.0,
    }
    return AugmentConfig(**{**values, **changes})


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def augmented(batch: torch.Tensor, config: AugmentConfig, size: int, seed: int = 0) -> torch.Tensor:
    return augment(batch, sample_augmentation(config, len(batch), generator(seed)), size=size)


def noise(count: int, side: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, generator=generator(seed))


def ramp(count: int, side: int) -> torch.Tensor:
    """Return images whose red increases to the right and whose green increases downwards."""
    line = torch.arange(side, dtype=torch.uint8) * (255 // side)
    image = torch.stack([line.expand(side, side), line[:, None].expand(side, side), torch.zeros(side, side)], dim=-1)
    return image.to(torch.uint8).expand(count, side, side, 3).contiguous()


def products(count: int, side: int) -> torch.Tensor:
    """Return rectangles of noise on white."""
    batch = noise(count, side)
    batch[:, : side // 4] = batch[:, -side // 4 :] = 255
    batch[:, :, : side // 4] = batch[:, :, -side // 4 :] = 255
    return batch


def naive_crop(image: np.ndarray, crop: np.ndarray, size: int) -> np.ndarray:
    """Crop an image pixel by pixel with bilinear interpolation. A negative width mirrors it."""
    side = len(image)
    half_width, half_height, x, y = (float(value) for value in crop)
    result = np.empty((size, size, 3))
    for row in range(size):
        for column in range(size):
            at_x = ((half_width * ((2 * column + 1) / size - 1) + x + 1) * side - 1) / 2
            at_y = ((half_height * ((2 * row + 1) / size - 1) + y + 1) * side - 1) / 2
            at_x, at_y = min(max(at_x, 0), side - 1), min(max(at_y, 0), side - 1)
            left, top = min(int(at_x), side - 2), min(int(at_y), side - 2)
            right, down = at_x - left, at_y - top
            upper = image[top, left] * (1 - right) + image[top, left + 1] * right
            lower = image[top + 1, left] * (1 - right) + image[top + 1, left + 1] * right
            result[row, column] = upper * (1 - down) + lower * down
    return result


def test_disabled_augmentation_returns_the_image() -> None:
    batch = noise(4, 20)
    assert torch.equal(augmented(batch, make_config(), 20), batch)


def test_crops_equal_a_loop_over_pixels() -> None:
    batch = noise(5, 17)
    sampled = sample_augmentation(make_config(min_crop_area=0.3, flip=True), 5, generator())
    found = augment(batch, sampled, size=11).numpy()
    for image, crop, one in zip(batch.numpy().astype(float), sampled.crops.numpy(), found, strict=True):
        assert np.abs(naive_crop(image, crop, 11) - one).max() < 0.51
    assert {bool(width < 0) for width in sampled.crops[:, 0]} == {True, False}


def test_flip_mirrors_half_of_the_images() -> None:
    found = augmented(ramp(400, 32), make_config(min_crop_area=0.9, flip=True), 32).float()
    mirrored = found[:, 16, 0, 0] > found[:, 16, -1, 0]
    assert 150 < int(mirrored.sum()) < 250
    assert (found[:, -1, 16, 1] > found[:, 0, 16, 1]).all(), "never flipped vertically"


@pytest.mark.parametrize("least", [0.3, 0.8])
def test_crop_areas_are_in_the_configured_range(least: float) -> None:
    found = augmented(ramp(300, 64), make_config(min_crop_area=least), 64)
    span = found.float() / (255 // 64) / 63
    width = span[:, 32, -1, 0] - span[:, 32, 0, 0]
    height = span[:, -1, 32, 1] - span[:, 0, 32, 1]
    area = width * height
    assert area.min() > least * 0.9  # pixels are discrete
    assert area.max() <= 1.0
    assert area.min() < least + 0.15
    assert width.std() > 0.02


def test_augmentation_is_deterministic() -> None:
    config = make_config(**ALL)
    first, again, other = (augmented(products(8, 24), config, 16, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (8, 16, 16, 3)
    assert first.dtype == torch.uint8


def test_crops_do_not_depend_on_other_augmentations() -> None:
    crops = sample_augmentation(make_config(min_crop_area=0.4, flip=True), 30, generator()).crops
    assert torch.equal(sample_augmentation(make_config(**ALL), 30, generator()).crops, crops)


@pytest.mark.parametrize("side", [24, 45, 92])
def test_rows_of_a_batch_are_independent(side: int) -> None:
    batch, sampled = products(70, side), sample_augmentation(make_config(**ALL), 70, generator())
    whole = augment(batch, sampled, size=side - 5)
    for rows in (slice(0, 35), slice(35, 70), slice(3, 20), slice(17, 18), slice(69, None), slice(0, 70, 2)):
        assert torch.equal(augment(batch[rows], sampled[rows], size=side - 5), whole[rows]), rows
    assert not len(augment(batch[:0], sampled[:0], size=8))


@pytest.mark.parametrize("config", [make_config(**ALL), make_config(min_crop_area=0.4, flip=True)])
def test_augmentation_does_not_depend_on_the_number_of_threads(config: AugmentConfig) -> None:
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(augmented(products(40, 92), config, 80))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


def test_colour_changes_equal_torchvision() -> None:
    batch = (noise(6, 12).float() / 4 + 90).round()  # far enough from both ends not to be clipped
    factors = 1 + 0.3 * (2 * torch.rand(6, 3, generator=generator()) - 1)
    factors[0] = 1.0
    factors[1, 2] = 0.0
    found = change_colours(batch.permute(0, 3, 1, 2), factors)
    for image, (brightness, contrast, saturation), one in zip(
        batch.permute(0, 3, 1, 2) / 255, factors.tolist(), found / 255, strict=True
    ):
        expected = reference.adjust_brightness(image, brightness)
        expected = reference.adjust_contrast(expected, contrast)
        expected = reference.adjust_saturation(expected, saturation)
        torch.testing.assert_close(one, expected, atol=1e-3, rtol=0)
    assert torch.equal(found[0], batch[0].permute(2, 0, 1))


def test_colours_are_clipped() -> None:
    sampled = sample_augmentation(make_config(colour_jitter=0.9), 50, generator())
    found = augment(noise(50, 16), sampled, size=16)
    assert int(found.min()) == 0
    assert int(found.max()) == 255
    assert sampled.colours is not None
    assert 0.1 <= float(sampled.colours.min()) < 0.3
    assert 1.7 < float(sampled.colours.max()) <= 1.9


def test_greyscale_applies_to_the_configured_share() -> None:
    batch = noise(400, 8)
    found = augmented(batch, make_config(greyscale=0.25), 8).float()
    grey = ((found.amax(3) - found.amin(3)) <= 1).all((1, 2))
    assert 70 < int(grey.sum()) < 130
    assert torch.equal(found[~grey].to(torch.uint8), batch[~grey]), "the other images are unchanged"
    luma = (batch[grey].float() * torch.tensor([0.299, 0.587, 0.114])).sum(3)
    assert (found[grey][..., 0] - luma).abs().max() <= 0.51


def test_inversion_applies_to_the_configured_share() -> None:
    batch = noise(400, 8)
    found = augmented(batch, make_config(invert=0.25), 8)
    inverted = (found != batch).any(-1).any(-1).any(-1)
    assert 70 < int(inverted.sum()) < 130
    assert torch.equal(found[inverted], 255 - batch[inverted])


def test_thumbnails_are_small_grey_product_crops() -> None:
    batch = torch.full((300, 100, 90, 3), 255, dtype=torch.uint8)
    batch[:, 20:76, 40:70] = (
        noise(300, 56)[:, :, :30] // 2
    )  # 56 by 30: each pixel of the thumbnail covers 2 by 2 pixels
    sampled = sample_augmentation(make_config(thumbnail=1.0, flip=True, greyscale=0.5), len(batch), generator())
    found = augment(batch, sampled, size=28)
    square = batch[:, 20:76, 27:83].float().numpy() @ np.array([0.299, 0.587, 0.114])
    expected = square.reshape(300, 28, 2, 28, 2).mean((2, 4))
    mirrored = sampled.crops[:, 0].numpy() < 0
    expected[mirrored] = expected[mirrored][:, :, ::-1]
    assert sampled.inverted is not None
    negative = sampled.inverted.numpy()
    expected[negative] = 255 - expected[negative]
    assert np.abs(expected[..., None] - found.numpy()).max() <= 1
    assert 215 < negative.sum() < 265


def test_thumbnails_are_made_of_the_configured_share() -> None:
    batch = noise(400, 80)
    sampled = sample_augmentation(make_config(thumbnail=0.3), len(batch), generator())
    found = augment(batch, sampled, size=80)
    assert sampled.thumbnails is not None
    assert 80 < int(sampled.thumbnails.sum()) < 160
    assert torch.equal(found[~sampled.thumbnails], batch[~sampled.thumbnails]), "the other images are unchanged"
    assert (found[sampled.thumbnails].float().std((1, 2)) < batch[sampled.thumbnails].float().std((1, 2))).all()


@pytest.mark.parametrize(
    ("box", "square"),
    [
        ((10, 20, 30, 40), (0.5, 0.5, 0.0, 0.5)),
        ((0, 0, 40, 10), (1.0, 1.0, 0.0, -0.75)),
        ((35, 0, 40, 40), (1.0, 1.0, 0.875, 0.0)),  # extends beyond the edge of the image
        (None, (1.0, 1.0, 0.0, 0.0)),
    ],
)
def test_product_squares(box: tuple[int, int, int, int] | None, square: tuple[float, ...]) -> None:
    image = torch.full((1, 3, 40, 40), 250.0)
    if box is not None:
        left, top, right, bottom = box
        image[:, 1, top:bottom, left:right] = 90
    assert product_squares(image)[0].tolist() == pytest.approx(square)

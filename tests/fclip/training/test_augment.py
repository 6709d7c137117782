"""Crops and mirrors on tensors."""

import pytest
import torch

from fclip.training.augment import augment
from fclip.training.config import AugmentConfig


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ramp(count: int, side: int) -> torch.Tensor:
    """Images whose red grows to the right and green downwards."""
    line = torch.arange(side, dtype=torch.uint8) * (255 // side)
    image = torch.stack([line.expand(side, side), line[:, None].expand(side, side), torch.zeros(side, side)], dim=-1)
    return image.to(torch.uint8).expand(count, side, side, 3).contiguous()


def test_nothing_to_vary_is_the_whole_image() -> None:
    batch = torch.randint(0, 256, (4, 20, 20, 3), dtype=torch.uint8, generator=generator())
    varied = augment(batch, AugmentConfig(min_crop_area=1.0, flip=False), size=20, generator=generator())
    assert torch.equal(varied, batch)


def test_mirroring_turns_about_half() -> None:
    config = AugmentConfig(min_crop_area=0.9, flip=True)
    varied = augment(ramp(400, 32), config, size=32, generator=generator()).float()
    mirrored = varied[:, 16, 0, 0] > varied[:, 16, -1, 0]
    assert 150 < int(mirrored.sum()) < 250
    assert (varied[:, -1, 16, 1] > varied[:, 0, 16, 1]).all(), "never upside down"


@pytest.mark.parametrize("least", [0.3, 0.8])
def test_parts_have_the_area_that_is_asked(least: float) -> None:
    varied = augment(ramp(300, 64), AugmentConfig(min_crop_area=least, flip=False), size=64, generator=generator())
    span = varied.float() / (255 // 64) / 63
    width = span[:, 32, -1, 0] - span[:, 32, 0, 0]
    height = span[:, -1, 32, 1] - span[:, 0, 32, 1]
    area = width * height
    assert area.min() > least * 0.9  # pixels are steps
    assert area.max() <= 1.0
    assert area.min() < least + 0.15
    assert width.std() > 0.02


def test_the_same_generator_gives_the_same_parts() -> None:
    config = AugmentConfig(min_crop_area=0.5, flip=True)
    first, again, other = (augment(ramp(8, 24), config, size=16, generator=generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (8, 16, 16, 3)

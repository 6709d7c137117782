"""Variation of training images, on tensors, a batch at once."""

import math

import torch
import torch.nn.functional as F  # noqa: N812

from fclip.training.config import AugmentConfig

MAX_ASPECT = 4 / 3


def augment(batch: torch.Tensor, config: AugmentConfig, *, size: int, generator: torch.Generator) -> torch.Tensor:
    """A random part of each image, at the model's size, mirrored or not.

    A part has from `min_crop_area` to all of the area and, as far as it fits, an aspect from 3/4 to 4/3, as in
    torchvision's RandomResizedCrop.

    Args:
        batch: uint8 [n, height, width, 3], on any device.
        generator: on the CPU, so that every device sees the same parts.

    Returns:
        uint8 [n, size, size, 3] on the batch's device.
    """
    parts = _parts(len(batch), config, generator).to(batch.device)
    pixels = batch.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    grid = F.affine_grid(parts, [len(batch), 3, size, size], align_corners=False)
    sampled = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return sampled.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def _parts(count: int, config: AugmentConfig, generator: torch.Generator) -> torch.Tensor:
    """Affine maps from the output's square [-1, 1]² to a part of the input's: float32 [count, 2, 3]."""
    draws = torch.rand(5, count, generator=generator)
    area = config.min_crop_area + (1 - config.min_crop_area) * draws[0]
    widest = (-area.log()).clamp(max=math.log(MAX_ASPECT))  # as far as a part of this area fits
    aspect = torch.exp((2 * draws[1] - 1) * widest)
    width = (area * aspect).sqrt().clamp(max=1)
    height = (area / aspect).sqrt().clamp(max=1)
    mirror = torch.where(draws[4] < 0.5, -1.0, 1.0) if config.flip else torch.ones(count)
    parts = torch.zeros(count, 2, 3)
    parts[:, 0, 0] = width * mirror
    parts[:, 1, 1] = height
    parts[:, 0, 2] = (2 * draws[2] - 1) * (1 - width)
    parts[:, 1, 2] = (2 * draws[3] - 1) * (1 - height)
    return parts

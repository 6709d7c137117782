"""Variation of training images, on tensors, a batch at once.

What chance decides is drawn for a whole batch, on the CPU, from one generator (`draw`), and can be cut into rows: a
process that takes some rows of a batch makes of them what one that takes them all does.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F  # noqa: N812

from fclip.training.config import AugmentConfig
from fclip.training.grounds import Grounds, draw_grounds, replace_grounds

MAX_ASPECT = 4 / 3
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey level (ITU-R BT.601)."""
LOW_SIDES = (20, 28, 40)
"""Sides in pixels of an image that is seen as if it were small."""
CPU_IMAGES = 16
"""Images at a time on a CPU: as many as its caches hold."""


@dataclass(frozen=True)
class Draws:
    """What chance decides about each image of a batch; a row an image, on the CPU.

    Attributes:
        crops: float32 [n, 4], half the width (negative: mirrored), half the height and the centre (x, y) of the part
            that is kept, in [-1, 1].
        colours: float32 [n, 3], factors of brightness, contrast and saturation; None: colours stay.
        grounds: None: grounds stay.
        sides: int64 [n], to how many pixels a side an image is reduced first, 0 for not at all; None: for none.
        inverted: bool [n], whether light and dark change places; None: for none.
    """

    crops: torch.Tensor
    colours: torch.Tensor | None
    grounds: Grounds | None
    sides: torch.Tensor | None
    inverted: torch.Tensor | None

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, rows: slice) -> "Draws":
        """Those of some rows."""
        grounds = self.grounds and Grounds(
            **{field.name: getattr(self.grounds, field.name)[rows] for field in fields(Grounds)}
        )
        colours, sides, inverted = (
            None if each is None else each[rows] for each in (self.colours, self.sides, self.inverted)
        )
        return Draws(self.crops[rows], colours, grounds, sides, inverted)


def draw(config: AugmentConfig, count: int, generator: torch.Generator) -> Draws:
    """Draw for `count` images.

    A crop has from `min_crop_area` to all of the area and, as far as it fits, an aspect from 3/4 to 4/3, as in
    torchvision's RandomResizedCrop. The same generator gives the same crops whatever else is varied.
    """
    crops = _crops(config, torch.rand(5, count, generator=generator))
    changes = torch.rand(4, count, generator=generator)
    colours = None
    if config.colour_jitter or config.greyscale:
        colours = (1 + config.colour_jitter * (2 * changes[:3] - 1)).T.contiguous()
        colours[changes[3] < config.greyscale, 2] = 0
    grounds = draw_grounds(config.background, count, generator) if config.background else None
    sides = inverted = None
    if config.low_resolution:
        uniform = torch.rand(2, count, generator=generator)
        sides = torch.tensor(LOW_SIDES)[(uniform[0] * len(LOW_SIDES)).long()]
        sides[uniform[1] >= config.low_resolution] = 0
    if config.invert:
        inverted = torch.rand(count, generator=generator) < config.invert
    return Draws(crops, colours, grounds, sides, inverted)


def augment(batch: torch.Tensor, draws: Draws, *, size: int) -> torch.Tensor:
    """Other grounds, fewer pixels, then a part of each image at the model's size, mirrored or not, then other colours.

    Args:
        batch: uint8 [n, height, width, 3], on any device.
        draws: of these n images.

    Returns:
        uint8 [n, size, size, 3] on the batch's device. On a CPU the bits are the same on every run, and for some rows
        of a batch as for all; between devices they differ by a grey level at most, but where a ground's edge is.
    """
    assert len(batch) == len(draws)
    varied = batch.new_empty(len(batch), size, size, 3)
    for rows in _groups(batch):
        pixels = batch[rows].permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        own = draws[rows]
        if own.grounds is not None:
            pixels = replace_grounds(pixels, own.grounds)
        pixels = _crop_some_small(pixels, own, size)
        if own.colours is not None:
            pixels = change_colours(pixels.round_(), own.colours.to(batch.device))
        pixels = pixels.round_().clamp_(0, 255)
        if own.inverted is not None:
            pixels = torch.where(own.inverted.to(batch.device)[:, None, None, None], 255 - pixels, pixels)
        varied[rows] = pixels.to(torch.uint8).permute(0, 2, 3, 1)
    return varied


def crop(pixels: torch.Tensor, crops: torch.Tensor, size: int) -> torch.Tensor:
    """The parts `crops` [n, 4] of `pixels` [n, 3, height, width], bilinear: float32 [n, 3, size, size]."""
    line = (2 * torch.arange(size, device=pixels.device) + 1) / size - 1
    grid = torch.empty(len(pixels), size, size, 2, device=pixels.device)
    grid[..., 0] = (crops[:, 0, None] * line + crops[:, 2, None])[:, None, :]
    grid[..., 1] = (crops[:, 1, None] * line + crops[:, 3, None])[:, :, None]
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)


def change_colours(pixels: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Brightness, contrast and saturation times `factors` [n, 3], in this order, as torchvision defines them.

    Args:
        pixels: float32 [n, 3, height, width] of whole grey levels, so that their sums are exact in any order.

    Returns:
        float32 of the same shape, possibly outside [0, 255]: torchvision cuts that off after each change.
    """
    brightness, contrast, saturation = (factor[:, None, None, None] for factor in factors.unbind(1))
    grey = _grey(pixels)
    mean = _grey(pixels.sum(3).double().sum(2)[:, :, None, None]).float() / (pixels.shape[2] * pixels.shape[3])
    whole = brightness * contrast
    return pixels * (whole * saturation) + (grey * (whole * (1 - saturation)) + mean * (brightness * (1 - contrast)))


def _crop_some_small(pixels: torch.Tensor, draws: Draws, size: int) -> torch.Tensor:
    crops = draws.crops.to(pixels.device)
    found = crop(pixels, crops, size)
    if draws.sides is None:
        return found
    for side in LOW_SIDES:
        rows = (draws.sides == side).nonzero()[:, 0].to(pixels.device)
        if len(rows):
            found[rows] = crop(F.interpolate(pixels[rows], size=(side, side), mode="area"), crops[rows], size)
    return found


def _grey(pixels: torch.Tensor) -> torch.Tensor:
    red, green, blue = (pixels[:, channel, None] * weight for channel, weight in enumerate(LUMA))
    return red + green + blue


def _groups(batch: torch.Tensor) -> Iterator[slice]:
    rows = CPU_IMAGES if batch.device.type == "cpu" else max(1, len(batch))
    return (slice(begin, begin + rows) for begin in range(0, len(batch), rows))


def _crops(config: AugmentConfig, uniform: torch.Tensor) -> torch.Tensor:
    """Crops [count, 4] by five draws from [0, 1) for each of them, [5, count]."""
    area = config.min_crop_area + (1 - config.min_crop_area) * uniform[0]
    widest = (-area.log()).clamp(max=math.log(MAX_ASPECT))  # as far as a part of this area fits
    aspect = torch.exp((2 * uniform[1] - 1) * widest)
    width = (area * aspect).sqrt().clamp(max=1)
    height = (area / aspect).sqrt().clamp(max=1)
    mirror = torch.where(uniform[4] < 0.5, -1.0, 1.0) if config.flip else torch.ones_like(area)
    x, y = (2 * uniform[2] - 1) * (1 - width), (2 * uniform[3] - 1) * (1 - height)
    return torch.stack([width * mirror, height, x, y], dim=1)

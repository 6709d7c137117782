"""Variation of training images, on tensors, a batch at once.

`sample_augmentation` makes the random choices for a whole batch, on the CPU, from one generator. They can be cut into
rows: a process that takes some rows of a batch makes of them what one that takes them all does.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F  # noqa: N812

from fclip.training.backgrounds import Backgrounds, replace_backgrounds, sample_backgrounds
from fclip.training.config import AugmentConfig

MAX_ASPECT = 4 / 3
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey level (ITU-R BT.601)."""
THUMBNAIL_SIDE = 28
"""Pixels a side of a thumbnail; Fashion-MNIST's have as many, made of photographs on white in the same way."""
NEGATIVES = 0.8
"""Share of the thumbnails whose light and dark change places."""
WHITE = 232.0
"""A product is where a channel is darker; the rest is its background."""
CPU_IMAGES = 16
"""Images at a time on a CPU: as many as its caches hold."""


@dataclass(frozen=True)
class Augmentation:
    """The random choices for each image of a batch; a row an image, on the CPU.

    Attributes:
        crops: float32 [n, 4], half the width (negative: mirrored), half the height and the centre (x, y) of the part
            that is kept, in [-1, 1].
        colours: float32 [n, 3], factors of brightness, contrast and saturation; None: colours stay.
        backgrounds: None: backgrounds stay.
        thumbnails: bool [n], whether it becomes a thumbnail; None: none does.
        inverted: bool [n], whether light and dark change places; None: for none.
    """

    crops: torch.Tensor
    colours: torch.Tensor | None
    backgrounds: Backgrounds | None
    thumbnails: torch.Tensor | None
    inverted: torch.Tensor | None

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, rows: slice) -> "Augmentation":
        """Those of some rows."""
        backgrounds = self.backgrounds and Backgrounds(
            **{field.name: getattr(self.backgrounds, field.name)[rows] for field in fields(Backgrounds)}
        )
        colours, thumbnails, inverted = (
            None if each is None else each[rows] for each in (self.colours, self.thumbnails, self.inverted)
        )
        return Augmentation(self.crops[rows], colours, backgrounds, thumbnails, inverted)


def sample_augmentation(config: AugmentConfig, count: int, generator: torch.Generator) -> Augmentation:
    """Make the random choices for `count` images.

    A crop has from `min_crop_area` to all of the area and, as far as it fits, an aspect from 3/4 to 4/3, as in
    torchvision's RandomResizedCrop. The same generator gives the same crops whatever else is varied.
    """
    crops = _crops(config, torch.rand(5, count, generator=generator))
    changes = torch.rand(4, count, generator=generator)
    colours = None
    if config.colour_jitter or config.greyscale:
        colours = (1 + config.colour_jitter * (2 * changes[:3] - 1)).T.contiguous()
        colours[changes[3] < config.greyscale, 2] = 0
    backgrounds = sample_backgrounds(config.background, count, generator) if config.background else None
    thumbnails = inverted = None
    if config.thumbnail or config.invert:
        uniform = torch.rand(2, count, generator=generator)
        thumbnails = uniform[0] < config.thumbnail
        inverted = uniform[1] < torch.where(thumbnails, NEGATIVES, config.invert)
    return Augmentation(crops, colours, backgrounds, thumbnails, inverted)


def augment(batch: torch.Tensor, sampled: Augmentation, *, size: int) -> torch.Tensor:
    """Other backgrounds, then a part of each image at the model's size, mirrored or not, then other colours.

    What becomes a thumbnail does so as it is, mirrored or not.

    Args:
        batch: uint8 [n, height, width, 3], on any device.
        sampled: of these n images.

    Returns:
        uint8 [n, size, size, 3] on the batch's device. On a CPU the bits are the same on every run, and for some rows
        of a batch as for all; between devices they differ by a grey level at most, but where a background's edge is.
    """
    assert len(batch) == len(sampled)
    varied = batch.new_empty(len(batch), size, size, 3)
    for rows in _groups(batch):
        whole = batch[rows].permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        own = sampled[rows]
        pixels = whole if own.backgrounds is None else replace_backgrounds(whole, own.backgrounds)
        pixels = crop(pixels, own.crops.to(batch.device), size)
        if own.colours is not None:
            pixels = change_colours(pixels.round_(), own.colours.to(batch.device))
        if own.thumbnails is not None and len(chosen := own.thumbnails.nonzero()[:, 0]):
            on_device = chosen.to(batch.device)
            mirrors = own.crops[chosen, 0].sign().to(batch.device)
            pixels[on_device] = as_thumbnails(whole[on_device], mirrors, size)
        pixels = pixels.round_().clamp_(0, 255)
        if own.inverted is not None:
            pixels = torch.where(own.inverted.to(batch.device)[:, None, None, None], 255 - pixels, pixels)
        varied[rows] = pixels.to(torch.uint8).permute(0, 2, 3, 1)
    return varied


def crop(pixels: torch.Tensor, crops: torch.Tensor, size: int) -> torch.Tensor:
    """The parts `crops` [n, 4] of `pixels` [n, c, height, width], bilinear: float32 [n, c, size, size]."""
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


def as_thumbnails(pixels: torch.Tensor, mirrors: torch.Tensor, size: int) -> torch.Tensor:
    """Each image as a thumbnail: a square about its product, grey, of few pixels, enlarged again.

    Args:
        pixels: float32 [n, 3, height, width].
        mirrors: [n], −1 for what is mirrored, else 1.

    Returns:
        float32 [n, 3, size, size], possibly outside [0, 255] by what enlarging overshoots.
    """
    squares = product_squares(pixels)
    squares[:, 0] *= mirrors
    small = F.avg_pool2d(crop(_grey(pixels), squares, 2 * THUMBNAIL_SIDE), 2)
    return F.interpolate(small, size=(size, size), mode="bicubic").expand(-1, 3, -1, -1)


def product_squares(pixels: torch.Tensor) -> torch.Tensor:
    """The least square about each product on white, as `crop` wants it: float32 [n, 4]; of blank images the whole.

    Args:
        pixels: float32 [n, 3, height, width]. What is a square on them may reach over their edges.
    """
    dark = pixels.amin(1) < WHITE
    sides, centres = [], []
    for occupied in (dark.any(1), dark.any(2)):
        length = occupied.shape[1]
        place = torch.arange(length, device=pixels.device)
        first = torch.where(occupied, place, length).amin(1)
        last = torch.where(occupied, place + 1, 0).amax(1)
        blank = first >= last
        first, last = first.masked_fill(blank, 0), last.masked_fill(blank, length)
        sides.append(last - first)
        centres.append((first + last) / length - 1)
    side = torch.maximum(*sides)
    height, width = pixels.shape[2:]
    return torch.stack([side / width, side / height, *centres], dim=1).float()


def _grey(pixels: torch.Tensor) -> torch.Tensor:
    red, green, blue = (pixels[:, channel, None] * weight for channel, weight in enumerate(LUMA))
    return red + green + blue


def _groups(batch: torch.Tensor) -> Iterator[slice]:
    rows = CPU_IMAGES if batch.device.type == "cpu" else max(1, len(batch))
    return (slice(begin, begin + rows) for begin in range(0, len(batch), rows))


def _crops(config: AugmentConfig, uniform: torch.Tensor) -> torch.Tensor:
    """Crops [count, 4] by five samples from [0, 1) for each of them, [5, count]."""
    area = config.min_crop_area + (1 - config.min_crop_area) * uniform[0]
    widest = (-area.log()).clamp(max=math.log(MAX_ASPECT))  # as far as a part of this area fits
    aspect = torch.exp((2 * uniform[1] - 1) * widest)
    width = (area * aspect).sqrt().clamp(max=1)
    height = (area / aspect).sqrt().clamp(max=1)
    mirror = torch.where(uniform[4] < 0.5, -1.0, 1.0) if config.flip else torch.ones_like(area)
    x, y = (2 * uniform[2] - 1) * (1 - width), (2 * uniform[3] - 1) * (1 - height)
    return torch.stack([width * mirror, height, x, y], dim=1)

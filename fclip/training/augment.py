"""Augmentation of training images: batched operations on tensors.

`sample_augmentation` makes the random choices for a whole batch, on the CPU, from one generator. The choices can be
sliced by rows: an image is augmented in the same way whether a process handles the whole batch or only a part of it.
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
"""Weights of red, green and blue in the grey level (ITU-R BT.601)."""
THUMBNAIL_SIDE = 28
"""Side of a thumbnail in pixels. It is that of Fashion-MNIST, whose images were made from photographs on white."""
INVERTED_THUMBNAILS = 0.8
"""Share of the thumbnails that are inverted."""
WHITE_LEVEL = 232.0
"""A pixel belongs to the product if one of its channels is darker than this, else to the background."""
CPU_IMAGES = 16
"""Images per group on a CPU. More do not fit into its caches."""


@dataclass(frozen=True)
class Augmentation:
    """The random choices for a batch of n images, one row per image, on the CPU.

    Attributes:
        crops: float32 [n, 4], half the width (negative if mirrored), half the height and the centre (x, y) of the
            crop, in [-1, 1].
        colours: float32 [n, 3], factors of brightness, contrast and saturation; None to keep all colours.
        backgrounds: new backgrounds; None to keep all backgrounds.
        thumbnails: bool [n], whether the image becomes a thumbnail; None for no image.
        inverted: bool [n], whether the image is inverted (light becomes dark); None for no image.
    """

    crops: torch.Tensor
    colours: torch.Tensor | None
    backgrounds: Backgrounds | None
    thumbnails: torch.Tensor | None
    inverted: torch.Tensor | None

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, rows: slice) -> "Augmentation":
        """The choices for the images `rows`."""
        backgrounds = self.backgrounds and Backgrounds(
            **{field.name: getattr(self.backgrounds, field.name)[rows] for field in fields(Backgrounds)}
        )
        colours, thumbnails, inverted = (
            None if each is None else each[rows] for each in (self.colours, self.thumbnails, self.inverted)
        )
        return Augmentation(self.crops[rows], colours, backgrounds, thumbnails, inverted)


def sample_augmentation(config: AugmentConfig, count: int, generator: torch.Generator) -> Augmentation:
    """Make the random choices for `count` images.

    As in torchvision's RandomResizedCrop, a crop has between `min_crop_area` and all of the image's area, and an
    aspect ratio between 3/4 and 4/3 where it fits. The crops do not depend on which other augmentations are enabled.
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
        inverted = uniform[1] < torch.where(thumbnails, INVERTED_THUMBNAILS, config.invert)
    return Augmentation(crops, colours, backgrounds, thumbnails, inverted)


def augment(batch: torch.Tensor, sampled: Augmentation, *, size: int) -> torch.Tensor:
    """Replace backgrounds, crop (and mirror) to `size`, then change colours.

    A thumbnail is made from the whole original image; of the other choices only mirroring and inversion apply to it.

    Args:
        batch: uint8 [n, height, width, 3], on any device.
        sampled: the choices for these n images.
        size: side of the result in pixels.

    Returns:
        uint8 [n, size, size, 3] on the batch's device. On a CPU the result is deterministic, and each row is
        independent of the other rows. Results on other devices differ by at most one grey level, except at the edges
        of replaced backgrounds.
    """
    assert len(batch) == len(sampled)
    augmented = batch.new_empty(len(batch), size, size, 3)
    for rows in _groups(batch):
        whole = batch[rows].permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        choices = sampled[rows]
        pixels = whole if choices.backgrounds is None else replace_backgrounds(whole, choices.backgrounds)
        pixels = crop(pixels, choices.crops.to(batch.device), size)
        if choices.colours is not None:
            pixels = change_colours(pixels.round_(), choices.colours.to(batch.device))
        if choices.thumbnails is not None and len(selected := choices.thumbnails.nonzero()[:, 0]):
            on_device = selected.to(batch.device)
            mirrors = choices.crops[selected, 0].sign().to(batch.device)
            pixels[on_device] = as_thumbnails(whole[on_device], mirrors, size)
        pixels = pixels.round_().clamp_(0, 255)
        if choices.inverted is not None:
            pixels = torch.where(choices.inverted.to(batch.device)[:, None, None, None], 255 - pixels, pixels)
        augmented[rows] = pixels.to(torch.uint8).permute(0, 2, 3, 1)
    return augmented


def crop(pixels: torch.Tensor, crops: torch.Tensor, size: int) -> torch.Tensor:
    """Crop `pixels` [n, c, height, width] to `crops` [n, 4], bilinear: float32 [n, c, size, size]."""
    line = (2 * torch.arange(size, device=pixels.device) + 1) / size - 1
    grid = torch.empty(len(pixels), size, size, 2, device=pixels.device)
    grid[..., 0] = (crops[:, 0, None] * line + crops[:, 2, None])[:, None, :]
    grid[..., 1] = (crops[:, 1, None] * line + crops[:, 3, None])[:, :, None]
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)


def change_colours(pixels: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Multiply brightness, contrast and saturation by `factors` [n, 3], in this order, as torchvision does.

    Args:
        pixels: float32 [n, 3, height, width] with integer values, so that sums are exact in any order.

    Returns:
        float32 of the same shape, not clipped to [0, 255]. torchvision clips after each of the three changes.
    """
    brightness, contrast, saturation = (factor[:, None, None, None] for factor in factors.unbind(1))
    grey = _grey(pixels)
    mean = _grey(pixels.sum(3).double().sum(2)[:, :, None, None]).float() / (pixels.shape[2] * pixels.shape[3])
    whole = brightness * contrast
    return pixels * (whole * saturation) + (grey * (whole * (1 - saturation)) + mean * (brightness * (1 - contrast)))


def as_thumbnails(pixels: torch.Tensor, mirrors: torch.Tensor, size: int) -> torch.Tensor:
    """Make thumbnails: crop a square around the product, convert to grey, downscale, and upscale to `size`.

    Args:
        pixels: float32 [n, 3, height, width].
        mirrors: [n], −1 for mirrored images, else 1.

    Returns:
        float32 [n, 3, size, size], not clipped to [0, 255]: bicubic upscaling overshoots.
    """
    squares = product_squares(pixels)
    squares[:, 0] *= mirrors
    small = F.avg_pool2d(crop(_grey(pixels), squares, 2 * THUMBNAIL_SIDE), 2)
    return F.interpolate(small, size=(size, size), mode="bicubic").expand(-1, 3, -1, -1)


def product_squares(pixels: torch.Tensor) -> torch.Tensor:
    """Return the smallest square around each product on white, or the whole image if it is blank.

    Args:
        pixels: float32 [n, 3, height, width].

    Returns:
        float32 [n, 4], crops as `crop` takes them. A square may extend beyond the image.
    """
    dark = pixels.amin(1) < WHITE_LEVEL
    sides, centres = [], []
    for occupied in (dark.any(1), dark.any(2)):
        length = occupied.shape[1]
        position = torch.arange(length, device=pixels.device)
        first = torch.where(occupied, position, length).amin(1)
        last = torch.where(occupied, position + 1, 0).amax(1)
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
    """Return crops [count, 4] from uniform samples in [0, 1), [5, count]."""
    area = config.min_crop_area + (1 - config.min_crop_area) * uniform[0]
    widest = (-area.log()).clamp(max=math.log(MAX_ASPECT))  # the widest aspect ratio that fits for this area
    aspect = torch.exp((2 * uniform[1] - 1) * widest)
    width = (area * aspect).sqrt().clamp(max=1)
    height = (area / aspect).sqrt().clamp(max=1)
    mirror = torch.where(uniform[4] < 0.5, -1.0, 1.0) if config.flip else torch.ones_like(area)
    x, y = (2 * uniform[2] - 1) * (1 - width), (2 * uniform[3] - 1) * (1 - height)
    return torch.stack([width * mirror, height, x, y], dim=1)

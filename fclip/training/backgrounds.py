"""Replacement of white backgrounds of product photographs, so that a model cannot rely on them.

Batched operations on tensors. The background is the set of pixels that are about as white as the image border and
connected to it, so white parts of the product are kept. The new background is multiplied with the old one, so
shadows remain.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812

MIN_LEVEL = 240.0
"""An image is on white if the darkest channel's median over the border is at least this grey level."""
CORE_TOLERANCE, EDGE_TOLERANCE = 5.0, 12.0
"""Maximum difference from the border's grey level for certain background, and for background adjacent to it.
White garments mostly differ by more than the first and less than the second. So do JPEG artefacts near edges."""
EDGE_CELLS = 3
"""How many cells of the grid the looser tolerance extends the certain background."""
MIN_BACKGROUND, MAX_BACKGROUND = 0.1, 0.85
"""Accepted background share of an image. Below, it is not a product shot; above, the product may be white as well."""
GRID_SIDE = 56
"""The background is searched on a grid of about this many cells per side, using the darkest pixel of each cell."""
PRODUCT_LEVEL = 48.0
"""At an edge, pixels darker than this belong entirely to the product."""
FIELD_SIDE = 12
"""Side of a sampled background before it is upscaled. Upscaling blurs it."""
NOISE_SIDE = 5
CONVERGENCE_INTERVAL = 8


@dataclass(frozen=True)
class Backgrounds:
    """The random choices for the backgrounds of a batch of n images, one row per image.

    Attributes:
        chosen: bool [n], whether the background is replaced if the image is on white.
        fields: float32 [n, 3, FIELD_SIDE, FIELD_SIDE], grey levels: a flat colour, a gradient or noise.
        textured: bool [n], whether texture is added to a flat colour. The texture is an upscaled part of the image's
            own centre, since using another image would make rows of a batch depend on each other.
        window: float32 [n, 3], half the side and the centre (x, y) of that part, in [-1, 1].
        channels: int64 [n, 3], the source channel of each channel of the texture.
    """

    chosen: torch.Tensor
    fields: torch.Tensor
    textured: torch.Tensor
    window: torch.Tensor
    channels: torch.Tensor


def sample_backgrounds(share: float, count: int, generator: torch.Generator) -> Backgrounds:
    """Make the choices for `count` images. A fraction `share` is replaced, with the four kinds equally likely."""
    uniform = torch.rand(count, 17 + 3 * NOISE_SIDE**2, generator=generator)
    kind = (4 * uniform[:, 0]).long()  # flat, gradient, noise, texture
    colour = 25 + 220 * uniform[:, 1, None] + 80 * (uniform[:, 2:5] - 0.5)
    change = 200 * (uniform[:, 5, None] - 0.5) + 80 * (uniform[:, 6:9] - 0.5)
    angle = 2 * math.pi * uniform[:, 9]
    line = torch.linspace(-0.5, 0.5, FIELD_SIDE)
    along = angle.cos()[:, None, None] * line + angle.sin()[:, None, None] * line[:, None]
    noise = 160 * (uniform[:, 17:].view(count, 3, NOISE_SIDE, NOISE_SIDE) - 0.5)
    noise = 0.6 * noise.mean(1, keepdim=True) * 3**0.5 + 0.4 * noise  # varies more in brightness than in hue
    noise = F.interpolate(noise, size=(FIELD_SIDE, FIELD_SIDE), mode="bicubic", align_corners=True)
    is_gradient, is_noise = ((kind == number)[:, None, None, None] for number in (1, 2))
    fields = colour[:, :, None, None] + is_gradient * change[:, :, None, None] * along[:, None] + is_noise * noise
    return Backgrounds(
        chosen=uniform[:, 10] < share,
        fields=fields.clamp_(0, 255),
        textured=kind == 3,
        window=torch.cat([0.15 + 0.2 * uniform[:, 11:12], 0.8 * (uniform[:, 12:14] - 0.5)], dim=1),
        channels=uniform[:, 14:17].argsort(dim=1),
    )


def replace_backgrounds(pixels: torch.Tensor, backgrounds: Backgrounds) -> torch.Tensor:
    """Return `pixels` with the chosen backgrounds replaced in images that are on white.

    Args:
        pixels: float32 [n, 3, height, width], grey levels.
        backgrounds: the choices for these n images, on the CPU.
    """
    rows = backgrounds.chosen.nonzero()[:, 0]
    if not len(rows):
        return pixels
    on_device = rows.to(pixels.device)
    chosen = pixels[on_device]
    mask, level = background_mask(chosen)
    factor = _render(chosen, backgrounds, rows).div_(level[:, None, None, None]).sub_(1)
    replaced = pixels.clone()
    replaced[on_device] = chosen * factor.mul_(mask).add_(1)
    return replaced


def background_mask(pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a soft background mask of `pixels` [n, 3, height, width] and the grey level of each background.

    Returns:
        float32 [n, 1, height, width] in [0, 1], and [n] in [1, 255]. The mask is 0 everywhere if the image is not on
        white, or if the background share is outside the accepted range.
    """
    height, width = pixels.shape[2:]
    darkest = pixels.amin(1)
    level = _border(darkest).median(1).values.clamp_(min=1)
    step = max(1, round(min(height, width) / GRID_SIDE))
    difference = (_darkest_per_cell(darkest, step) - level[:, None, None]).abs()
    # Eroding the white area first keeps the flood fill from passing gaps in the outline of a white product.
    background = _dilate(connected_to_border(~_dilate(difference > CORE_TOLERANCE)))
    background = _grow(background, difference <= EDGE_TOLERANCE, EDGE_CELLS)
    share = background.mean((1, 2), dtype=torch.float32)
    on_white = (level >= MIN_LEVEL) & (share >= MIN_BACKGROUND) & (share <= MAX_BACKGROUND)
    mask = _dilate(background & on_white[:, None, None])  # includes the cells at the edge
    mask = F.interpolate(mask[:, None].float(), scale_factor=step, mode="bilinear")[:, :, :height, :width]
    light = (darkest - PRODUCT_LEVEL) / (level[:, None, None] - EDGE_TOLERANCE - PRODUCT_LEVEL).clamp_(min=1)
    return mask * light.clamp_(0, 1)[:, None], level


def connected_to_border(white: torch.Tensor) -> torch.Tensor:
    """Return which pixels of `white`, bool [n, height, width], are connected to the border through white pixels.

    Uses 4-connectivity and at most height + width steps, so longer paths (spirals) are cut short.
    """
    height, width = white.shape[1:]
    border = torch.zeros_like(white)
    border[:, [0, -1]] = white[:, [0, -1]]
    border[:, :, [0, -1]] = white[:, :, [0, -1]]
    return _grow(border, white, height + width)


def _grow(reached: torch.Tensor, within: torch.Tensor, steps: int) -> torch.Tensor:
    """Grow `reached` inside `within`, both bool [n, height, width], by `steps` pixels or until it stops changing."""
    height, width = within.shape[1:]
    # One extra row and column separate images and lines, so a step is a shift of the flat memory.
    padded = F.pad(within, (0, 1, 0, 1))
    allowed, reached, line = padded.view(-1), F.pad(reached, (0, 1, 0, 1)).view(-1), width + 1
    for step in range(steps):
        grown = reached.clone()
        for shift in (1, line):
            grown[shift:] |= reached[:-shift]
            grown[:-shift] |= reached[shift:]
        grown &= allowed
        if step % CONVERGENCE_INTERVAL == CONVERGENCE_INTERVAL - 1 and torch.equal(grown, reached):
            break
        reached = grown
    return reached.view_as(padded)[:, :height, :width]


def _darkest_per_cell(darkest: torch.Tensor, step: int) -> torch.Tensor:
    """Minimum over cells of `step` by `step` pixels: [n, ⌈height / step⌉, ⌈width / step⌉]."""
    height, width = darkest.shape[1:]
    padded = F.pad(darkest, (0, -width % step, 0, -height % step), mode="replicate")
    rows = padded[:, ::step]
    for offset in range(1, step):
        rows = torch.minimum(rows, padded[:, offset::step])
    cells = rows[:, :, ::step]
    for offset in range(1, step):
        cells = torch.minimum(cells, rows[:, :, offset::step])
    return cells


def _dilate(mask: torch.Tensor) -> torch.Tensor:
    """Dilate `mask`, bool [n, height, width], by one pixel in all eight directions."""
    wide = mask.clone()
    wide[:, :, 1:] |= mask[:, :, :-1]
    wide[:, :, :-1] |= mask[:, :, 1:]
    dilated = wide.clone()
    dilated[:, 1:] |= wide[:, :-1]
    dilated[:, :-1] |= wide[:, 1:]
    return dilated


def _border(values: torch.Tensor) -> torch.Tensor:
    """The outermost ring of `values` [n, height, width]: [n, pixels of the ring]."""
    return torch.cat([values[:, 0], values[:, -1], values[:, 1:-1, 0], values[:, 1:-1, -1]], dim=1)


def _render(pixels: torch.Tensor, backgrounds: Backgrounds, rows: torch.Tensor) -> torch.Tensor:
    """Return the backgrounds `rows` for `pixels` [k, 3, height, width], of the same shape and on the same device."""
    fields = backgrounds.fields[rows].to(pixels.device)
    textured = backgrounds.textured[rows].nonzero()[:, 0]
    if len(textured):
        batch_rows, on_device = rows[textured], textured.to(pixels.device)
        window = backgrounds.window[batch_rows].to(pixels.device)
        channels = backgrounds.channels[batch_rows].to(pixels.device)
        fields[on_device] += _texture(pixels[on_device], window, channels)
        fields.clamp_(0, 255)
    return F.interpolate(fields, size=pixels.shape[2:], mode="bilinear", align_corners=True)


def _texture(pixels: torch.Tensor, window: torch.Tensor, channels: torch.Tensor) -> torch.Tensor:
    """Difference of a part of each of `pixels` from the part's mean: float32 [k, 3, FIELD_SIDE, FIELD_SIDE]."""
    coarse = F.avg_pool2d(pixels, max(1, min(pixels.shape[2:]) // 32))
    line = torch.linspace(-1, 1, FIELD_SIDE, device=pixels.device)
    grid = torch.empty(len(pixels), FIELD_SIDE, FIELD_SIDE, 2, device=pixels.device)
    grid[..., 0] = (window[:, 0, None] * line + window[:, 1, None])[:, None, :]
    grid[..., 1] = (window[:, 0, None] * line + window[:, 2, None])[:, :, None]
    part = F.grid_sample(coarse, grid, mode="bilinear", padding_mode="border", align_corners=False)
    part = part.gather(1, channels[:, :, None, None].expand_as(part))
    return part - part.mean((2, 3), keepdim=True)

"""Other backgrounds for products on white, so that a model cannot recognise them by their background.

On tensors, a batch at once. A product shot's background is what is about as white as most of the border and connected
to it: white parts of the product stay. Multiplication replaces it, so that it takes the new background's colour and
shadows stay shadows.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812

MIN_LEVEL = 240.0
"""Least grey level, in every channel, of most of the border, for an image to be on white."""
SAME, NEAR = 5.0, 12.0
"""Grey levels by which what is surely background, and what is background beside that, may differ from the border's.
White garments are mostly between the two; so is what JPEG makes of a background beside an edge."""
BESIDE = 3
"""Squares: how far beside."""
MIN_BACKGROUND, MAX_BACKGROUND = 0.1, 0.85
"""Share of an image that may be background: with less it is no product shot, with more the product may be white too."""
SIDE = 56
"""The background is sought on about so many squares a side, by the darkest pixel of each."""
DARK = 48.0
"""A pixel on the edge that is darker is the product's alone."""
FIELD = 12
"""Side of a background as it is drawn, before it is enlarged: all of them are blurred."""
NOISE = 5
CHECKED_EVERY = 8


@dataclass(frozen=True)
class Backgrounds:
    """The random choices for the background of each image of a batch; a row an image.

    Attributes:
        chosen: bool [n], whether the image is to get another background, should it be on white.
        fields: float32 [n, 3, FIELD, FIELD], grey levels: a flat colour, a gradient or noise.
        textured: bool [n], whether a flat colour gets the texture of a part of the image's own middle, enlarged.
            (Another image's would tie the rows of a batch to each other.)
        window: float32 [n, 3], half the side and the centre (x, y) of that part, in [-1, 1].
        channels: int64 [n, 3], the channel that each of its channels comes from.
    """

    chosen: torch.Tensor
    fields: torch.Tensor
    textured: torch.Tensor
    window: torch.Tensor
    channels: torch.Tensor


def sample_backgrounds(share: float, count: int, generator: torch.Generator) -> Backgrounds:
    """Choose for `count` images, of which `share` get another background: a quarter of these of each kind."""
    uniform = torch.rand(count, 17 + 3 * NOISE**2, generator=generator)
    kind = (4 * uniform[:, 0]).long()  # flat, gradient, noise, texture
    colour = 25 + 220 * uniform[:, 1, None] + 80 * (uniform[:, 2:5] - 0.5)
    change = 200 * (uniform[:, 5, None] - 0.5) + 80 * (uniform[:, 6:9] - 0.5)
    angle = 2 * math.pi * uniform[:, 9]
    line = torch.linspace(-0.5, 0.5, FIELD)
    along = angle.cos()[:, None, None] * line + angle.sin()[:, None, None] * line[:, None]
    noise = 160 * (uniform[:, 17:].view(count, 3, NOISE, NOISE) - 0.5)
    noise = 0.6 * noise.mean(1, keepdim=True) * 3**0.5 + 0.4 * noise  # rather lighter and darker than of other colours
    noise = F.interpolate(noise, size=(FIELD, FIELD), mode="bicubic", align_corners=True)
    of_kind = [(kind == number)[:, None, None, None] for number in (1, 2)]
    fields = colour[:, :, None, None] + of_kind[0] * change[:, :, None, None] * along[:, None] + of_kind[1] * noise
    return Backgrounds(
        chosen=uniform[:, 10] < share,
        fields=fields.clamp_(0, 255),
        textured=kind == 3,
        window=torch.cat([0.15 + 0.2 * uniform[:, 11:12], 0.8 * (uniform[:, 12:14] - 0.5)], dim=1),
        channels=uniform[:, 14:17].argsort(dim=1),
    )


def replace_backgrounds(pixels: torch.Tensor, backgrounds: Backgrounds) -> torch.Tensor:
    """`pixels`, float32 [n, 3, height, width] of grey levels, with the chosen backgrounds of those on white replaced.

    Args:
        backgrounds: on the CPU.
    """
    rows = backgrounds.chosen.nonzero()[:, 0]
    if not len(rows):
        return pixels
    on_device = rows.to(pixels.device)
    chosen = pixels[on_device]
    mask, level = background_mask(chosen)
    paper = _rendered(chosen, backgrounds, rows).div_(level[:, None, None, None]).sub_(1)
    replaced = pixels.clone()
    replaced[on_device] = chosen * paper.mul_(mask).add_(1)
    return replaced


def background_mask(pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How far each pixel is background, and the grey level of that, of `pixels` [n, 3, height, width].

    Returns:
        float32 [n, 1, height, width], 0 to 1, and [n], 1 to 255. All is 0 in an image that is not on white, or of
        which too little or nearly all would be background.
    """
    height, width = pixels.shape[2:]
    darkest = pixels.amin(1)
    level = _border(darkest).median(1).values.clamp_(min=1)
    step = max(1, round(min(height, width) / SIDE))
    squares = _darkest_of_squares(darkest, step) - level[:, None, None]
    # Made thinner first, what is white cannot pass the gaps in the outline of a white product.
    background = _spread(connected_to_border(~_spread(squares.abs() > SAME)))
    background = _grown(background, squares.abs() <= NEAR, BESIDE)
    share = background.mean((1, 2), dtype=torch.float32)
    on_white = (level >= MIN_LEVEL) & (share >= MIN_BACKGROUND) & (share <= MAX_BACKGROUND)
    mask = _spread(background & on_white[:, None, None])  # with the squares on the edge
    mask = F.interpolate(mask[:, None].float(), scale_factor=step, mode="bilinear")[:, :, :height, :width]
    light = (darkest - DARK) / (level[:, None, None] - NEAR - DARK).clamp_(min=1)
    return mask * light.clamp_(0, 1)[:, None], level


def connected_to_border(white: torch.Tensor) -> torch.Tensor:
    """Which of the pixels `white`, bool [n, height, width], are joined to the border by white ones (4 neighbours).

    As far as height + width steps lead: a longer way, as along a spiral, is not gone to its end.
    """
    height, width = white.shape[1:]
    border = torch.zeros_like(white)
    border[:, [0, -1]] = white[:, [0, -1]]
    border[:, :, [0, -1]] = white[:, :, [0, -1]]
    return _grown(border, white, height + width)


def _grown(reached: torch.Tensor, within: torch.Tensor, steps: int) -> torch.Tensor:
    """`reached`, which is `within` some pixels, bool [n, height, width], grown there so many steps, or to the end."""
    height, width = within.shape[1:]
    # A row and a column more part images and lines, so that a step is a shift of the whole memory.
    padded = F.pad(within, (0, 1, 0, 1))
    open_ways, reached, line = padded.view(-1), F.pad(reached, (0, 1, 0, 1)).view(-1), width + 1
    for step in range(steps):
        grown = reached.clone()
        for shift in (1, line):
            grown[shift:] |= reached[:-shift]
            grown[:-shift] |= reached[shift:]
        grown &= open_ways
        if step % CHECKED_EVERY == CHECKED_EVERY - 1 and torch.equal(grown, reached):
            break
        reached = grown
    return reached.view_as(padded)[:, :height, :width]


def _darkest_of_squares(darkest: torch.Tensor, step: int) -> torch.Tensor:
    """Of each square of `step` by `step` pixels the darkest: [n, height, width] with sides divided, rounded up."""
    height, width = darkest.shape[1:]
    padded = F.pad(darkest, (0, -width % step, 0, -height % step), mode="replicate")
    rows = padded[:, ::step]
    for offset in range(1, step):
        rows = torch.minimum(rows, padded[:, offset::step])
    squares = rows[:, :, ::step]
    for offset in range(1, step):
        squares = torch.minimum(squares, rows[:, :, offset::step])
    return squares


def _spread(chosen: torch.Tensor) -> torch.Tensor:
    """`chosen`, bool [n, height, width], with the eight neighbours of each."""
    wide = chosen.clone()
    wide[:, :, 1:] |= chosen[:, :, :-1]
    wide[:, :, :-1] |= chosen[:, :, 1:]
    spread = wide.clone()
    spread[:, 1:] |= wide[:, :-1]
    spread[:, :-1] |= wide[:, 1:]
    return spread


def _border(values: torch.Tensor) -> torch.Tensor:
    """The outermost ring of `values` [n, height, width]: [n, pixels of the ring]."""
    return torch.cat([values[:, 0], values[:, -1], values[:, 1:-1, 0], values[:, 1:-1, -1]], dim=1)


def _rendered(pixels: torch.Tensor, backgrounds: Backgrounds, rows: torch.Tensor) -> torch.Tensor:
    """The backgrounds `rows` for `pixels` [k, 3, height, width], in their size and on their device."""
    fields = backgrounds.fields[rows].to(pixels.device)
    textured = backgrounds.textured[rows].nonzero()[:, 0]
    if len(textured):
        of, on_device = rows[textured], textured.to(pixels.device)
        window, channels = backgrounds.window[of].to(pixels.device), backgrounds.channels[of].to(pixels.device)
        fields[on_device] += _texture(pixels[on_device], window, channels)
        fields.clamp_(0, 255)
    return F.interpolate(fields, size=pixels.shape[2:], mode="bilinear", align_corners=True)


def _texture(pixels: torch.Tensor, window: torch.Tensor, channels: torch.Tensor) -> torch.Tensor:
    """How parts of `pixels` differ from their own mean: float32 [k, 3, FIELD, FIELD]."""
    coarse = F.avg_pool2d(pixels, max(1, min(pixels.shape[2:]) // 32))
    line = torch.linspace(-1, 1, FIELD, device=pixels.device)
    grid = torch.empty(len(pixels), FIELD, FIELD, 2, device=pixels.device)
    grid[..., 0] = (window[:, 0, None] * line + window[:, 1, None])[:, None, :]
    grid[..., 1] = (window[:, 0, None] * line + window[:, 2, None])[:, :, None]
    part = F.grid_sample(coarse, grid, mode="bilinear", padding_mode="border", align_corners=False)
    part = part.gather(1, channels[:, :, None, None].expand_as(part))
    return part - part.mean((2, 3), keepdim=True)

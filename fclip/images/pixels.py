"""From stored bytes to what a model sees: decoding, resizing and normalising, as open_clip's inference transform."""

import io

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from fclip.errors import UserError
from fclip.models.store import Preprocess

RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
# A JPEG may be decoded at 1/2, 1/4 or 1/8 of its size. From twice the wanted size on, what the resize then makes of it
# is the same but for rounding: a difference nobody could see, and half the time.
DRAFT_MARGIN = 2


def decode(content: bytes, preprocess: Preprocess, *, draft: bool = False) -> np.ndarray:
    """One stored image as uint8 [size, size, 3], resized and cropped as open_clip's inference transform does.

    With `draft`, a JPEG much larger than `size` is decoded at a fraction of its size: faster, and within a few grey
    levels instead of one.

    Raises:
        UserError: the bytes are no image that Pillow reads.
    """
    size = preprocess.size
    image = _resized(read_image(content, DRAFT_MARGIN * size if draft else None), preprocess)
    if preprocess.resize_mode == "longest":
        return _padded(image, size, preprocess.fill_color)
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    return np.asarray(image.crop((left, top, left + size, top + size)))


def read_image(content: bytes, draft_side: int | None = None) -> Image.Image:
    """Decode one image to RGB; a JPEG at no less than `draft_side` pixels a side, where that saves time.

    Raises:
        UserError: the bytes are no image that Pillow reads.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            if draft_side is not None:
                image.draft("RGB", (draft_side, draft_side))
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        said = "no image format is like it" if isinstance(error, UnidentifiedImageError) else error
        raise UserError(f"a stored image could not be decoded ({said}): run ingest again") from error


def normalise(batch: np.ndarray | torch.Tensor, preprocess: Preprocess) -> torch.Tensor:
    """uint8 [n, height, width, 3] -> float32 [n, 3, height, width], on the batch's device, in channels-last memory."""
    pixels = torch.as_tensor(batch).permute(0, 3, 1, 2)
    mean = torch.tensor(preprocess.mean, device=pixels.device).view(1, 3, 1, 1) * 255
    std = torch.tensor(preprocess.std, device=pixels.device).view(1, 3, 1, 1) * 255
    return (pixels.float() - mean) / std


def _resized(image: Image.Image, preprocess: Preprocess) -> Image.Image:
    width, height = image.size
    size = preprocess.size
    match preprocess.resize_mode:
        case "squash":
            wanted = (size, size)
        case "shortest":  # torchvision's Resize: the longer side is truncated
            shorter, longer = min(width, height), max(width, height)
            long_side = int(size * longer / shorter)
            wanted = (size, long_side) if width <= height else (long_side, size)
        case "longest":  # open_clip's ResizeKeepRatio: both sides are rounded
            ratio = max(width, height) / size
            wanted = (round(width / ratio), round(height / ratio))
        case _:
            raise UserError(f"unknown resize_mode {preprocess.resize_mode!r}: shortest, longest or squash")
    return image if image.size == wanted else image.resize(wanted, RESAMPLING[preprocess.interpolation])


def _padded(image: Image.Image, size: int, fill: int) -> np.ndarray:
    canvas = Image.new("RGB", (size, size), (fill, fill, fill))
    canvas.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
    return np.asarray(canvas)

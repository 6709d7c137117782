"""From encoded images to what a model sees, in two halves: bytes -> uint8 pixels once, pixels -> floats on the device.

Together they equal open_clip's own inference transform to within one grey level. The first half is the slow one: it
depends on the size that a model wants and on no weights, so that models of one size share it.
"""

import io

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fclip.errors import UserError
from fclip.models.store import Preprocess

RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def decode(content: bytes, preprocess: Preprocess) -> NDArray[np.uint8]:
    """Decode one image and bring it to the model's size as open_clip's inference transform does.

    Beyond open_clip: turned upright by its EXIF orientation, transparency laid on white.

    Returns:
        uint8 [size, size, 3], RGB.

    Raises:
        UserError: the bytes are no image that Pillow can read whole.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            rgb = _rgb(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(
            f"an image of {len(content)} bytes cannot be decoded ({error}): is it a whole image?"
        ) from error
    return np.array(_fitted(rgb, preprocess))  # writable, as torch wants it


def normalise(batch: torch.Tensor, preprocess: Preprocess) -> torch.Tensor:
    """Pixels as the model wants them: (x / 255 - mean) / std.

    Args:
        batch: uint8 [n, height, width, 3], on any device.

    Returns:
        float32 [n, 3, height, width] on the same device, in channels-last order, which convolutions on a CPU take
        twice as fast as the contiguous one.
    """
    mean = torch.tensor(preprocess.mean, device=batch.device).view(1, 3, 1, 1)
    std = torch.tensor(preprocess.std, device=batch.device).view(1, 3, 1, 1)
    pixels = batch.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last)
    return pixels.div_(255).sub_(mean).div_(std)


def _rgb(image: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits, which convert() would clip
        values = np.asarray(image).astype(np.int64)
        values = values // 257 if values.max(initial=0) > 255 else values
        image = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        pixels = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", pixels.size, "white"), pixels)
    return image.convert("RGB")


def _fitted(image: Image.Image, preprocess: Preprocess) -> Image.Image:
    """`image` resized, then cropped or padded about its centre, to the model's square; rounding as torchvision's."""
    size, resampling = preprocess.size, RESAMPLING[preprocess.interpolation]
    width, height = image.size
    match preprocess.resize_mode:
        case "squash":
            return _resized(image, (size, size), resampling)
        case "longest":
            ratio = max(width, height) / size
            image = _resized(image, (max(1, round(width / ratio)), max(1, round(height / ratio))), resampling)
            left, top = (size - image.width) // 2, (size - image.height) // 2
            padded = Image.new("RGB", (size, size), (preprocess.fill_color,) * 3)
            padded.paste(image, (left, top))
            return padded
        case "shortest":
            longer = int(size * max(width, height) / min(width, height))
            image = _resized(image, (size, longer) if width <= height else (longer, size), resampling)
            left, top = round((image.width - size) / 2), round((image.height - size) / 2)
            return image.crop((left, top, left + size, top + size))
    raise ValueError(f"resize_mode must be shortest, longest or squash, not {preprocess.resize_mode!r}")


def _resized(image: Image.Image, size: tuple[int, int], resampling: Image.Resampling) -> Image.Image:
    return image if image.size == size else image.resize(size, resampling)

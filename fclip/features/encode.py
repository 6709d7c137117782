"""Batched encoding of pixels and texts to features by one model.

The features of a row do not depend on the other rows of its batch, so that a rerun with a partly filled cache gives
equal bytes. Kernels for few rows or odd lengths round differently, so batches are padded to a minimum size and texts
to multiples of a length.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from fclip.features.similarity import FloatArray
from fclip.images.tensors import normalise
from fclip.models.split_tower import SplitTower

if TYPE_CHECKING:
    from fclip.models.store import Clip  # open_clip takes seconds to import

CPU_IMAGES = 32  # per batch; more do not fit into the CPU's caches
MIN_ROWS = 16
TOKENS_STEP = 16  # the text tower of `towers` gives equal bits at 16, 32, 48 and 64 tokens, but not at 8 or 24


def encode_images(
    clip: "Clip", pixels: NDArray[np.uint8], *, batch_size: int = 128, pooled: bool = False
) -> FloatArray:
    """Return the image features of decoded pixels.

    Args:
        clip: the model, on the device to use.
        pixels: uint8 [n, height, width, 3], as returned by `fclip.images.pixels.decode` for this model.
        batch_size: maximum number of images per batch; fewer on a CPU.
        pooled: omit the projection, which must be a matrix (`fclip.features.towers`).

    Returns:
        float32 [n, d], not normalised; [n, width] if `pooled`.
    """
    model: Any = clip.model
    encode = SplitTower.of_images(model).pooled if pooled else model.encode_image
    rows = min(batch_size, CPU_IMAGES) if clip.device.type == "cpu" else batch_size
    parts = [np.empty((0, 0), np.float32)] if not len(pixels) else []
    with torch.inference_mode():
        for begin in range(0, len(pixels), rows):
            batch = pixels[begin : begin + rows]
            missing = max(0, MIN_ROWS - len(batch))
            filled = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)]) if missing else batch
            tensor = normalise(torch.from_numpy(np.ascontiguousarray(filled)).to(clip.device), clip.preprocess)
            parts.append(_to_numpy(encode(tensor))[: len(batch)])
    return np.concatenate(parts)


def encode_texts(
    clip: "Clip",
    texts: Sequence[str],
    *,
    batch_size: int = 128,
    pooled: bool = False,
    on_batch: Callable[[int], object] = lambda num: None,
) -> FloatArray:
    """Return the text features, float32 [n, d], not normalised. The tokenizer truncates long texts.

    Texts of similar length are encoded together, with little padding if the tower masks it.

    Args:
        pooled: omit the projection; the result is then [n, width].
        on_batch: is called after each batch with its number of texts.
    """
    model: Any = clip.model
    encode = SplitTower.of_texts(model).pooled if pooled else model.encode_text
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    parts = [np.empty((0, 0), np.float32)] if not texts else []
    with torch.inference_mode():
        for begin in range(0, len(texts), batch_size):
            batch = [texts[index] for index in order[begin : begin + batch_size]]
            filled = batch + batch[-1:] * max(0, MIN_ROWS - len(batch))
            tokens = clip.tokenize(filled, multiple_of=TOKENS_STEP).to(clip.device)
            parts.append(_to_numpy(encode(tokens))[: len(batch)])
            on_batch(len(batch))
    by_length = np.concatenate(parts)
    features = np.empty_like(by_length)
    features[order] = by_length
    return features


def _to_numpy(features: torch.Tensor) -> FloatArray:
    return features.float().cpu().numpy()

"""Pixels and texts in, features out: one model, in batches, at its full speed.

What a row's features are does not depend on its neighbours: a batch is filled up to a least size and texts to lengths
in steps, since kernels for a few rows or an odd length round otherwise, and equal inputs must give equal bytes in a
rerun that finds some of them in the cache.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fclip.features.similarity import FloatArray
from fclip.images.pixels import normalise
from fclip.models.split import Split
from fclip.models.store import Clip

CPU_IMAGES = 32  # in a batch; more only fall out of the processor's caches
LEAST_ROWS = 16
TOKENS_STEP = 16  # the text tower of `towers` gives the same bits at 16, 32, 48 and 64 tokens, others at 8 or 24


def encode_images(clip: Clip, pixels: NDArray[np.uint8], *, batch_size: int = 128, pooled: bool = False) -> FloatArray:
    """Image features of decoded pixels.

    Args:
        clip: the model, on the device that it is to run on.
        pixels: uint8 [n, height, width, 3], as `fclip.images.pixels.decode` gives them for this model.
        batch_size: images at a time at most; a CPU takes fewer where that is faster.
        pooled: stop before the projection, which must be a matrix (`fclip.features.towers`).

    Returns:
        float32 [n, d], not normalised; [n, width] where pooled.
    """
    model: Any = clip.model
    encode = Split.of_images(model).pooled if pooled else model.encode_image
    rows = min(batch_size, CPU_IMAGES) if clip.device.type == "cpu" else batch_size
    parts = [np.empty((0, 0), np.float32)] if not len(pixels) else []
    with torch.inference_mode():
        for begin in range(0, len(pixels), rows):
            batch = pixels[begin : begin + rows]
            missing = max(0, LEAST_ROWS - len(batch))
            filled = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)]) if missing else batch
            tensor = normalise(torch.from_numpy(np.ascontiguousarray(filled)).to(clip.device), clip.preprocess)
            parts.append(_to_numpy(encode(tensor))[: len(batch)])
    return np.concatenate(parts)


def encode_texts(clip: Clip, texts: Sequence[str], *, batch_size: int = 128, pooled: bool = False) -> FloatArray:
    """Text features, float32 [n, d], not normalised; texts longer than the model's context are cut by its tokenizer.

    `pooled`: those before the projection, as of images.

    Texts of about one length go together, padded hardly further than the longest of a batch where the tower allows it.
    """
    model: Any = clip.model
    encode = Split.of_texts(model).pooled if pooled else model.encode_text
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    parts = [np.empty((0, 0), np.float32)] if not texts else []
    with torch.inference_mode():
        for begin in range(0, len(texts), batch_size):
            batch = [texts[index] for index in order[begin : begin + batch_size]]
            filled = batch + batch[-1:] * max(0, LEAST_ROWS - len(batch))
            tokens = clip.tokenize(filled, multiple_of=TOKENS_STEP).to(clip.device)
            parts.append(_to_numpy(encode(tokens))[: len(batch)])
    by_length = np.concatenate(parts)
    features = np.empty_like(by_length)
    features[order] = by_length
    return features


def _to_numpy(features: torch.Tensor) -> FloatArray:
    return features.float().cpu().numpy()

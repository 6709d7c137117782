"""Pixels and texts in, features out: one model, in batches, at its full speed.

What a row's features are does not depend on its neighbours: a batch is filled up to a least size, since the kernels
for a few rows round otherwise than those for many, and equal inputs must give equal bytes in a rerun that finds
some of them in the cache.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fclip.images.pixels import normalise
from fclip.models.store import Clip

CPU_BATCH = 64  # larger batches only fall out of the processor's caches
LEAST_ROWS = 16

FloatArray = NDArray[np.float32]


def resolve_device(name: str) -> torch.device:
    """`auto` is cuda where there is one, else the CPU; other names are torch's."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def encode_images(clip: Clip, pixels: NDArray[np.uint8], *, batch_size: int, device: torch.device) -> FloatArray:
    """Image features of decoded pixels.

    Args:
        clip: the model, already on `device`.
        pixels: uint8 [n, height, width, 3], as `fclip.images.pixels.decode` gives them for this model.

    Returns:
        float32 [n, d], not normalised.
    """

    def encode(batch: NDArray[np.uint8]) -> torch.Tensor:
        return clip.model.encode_image(normalise(torch.from_numpy(batch).to(device), clip.preprocess))

    rows = min(batch_size, CPU_BATCH) if device.type == "cpu" else batch_size
    with torch.inference_mode():
        return _in_batches(encode, pixels, rows)


def encode_texts(clip: Clip, texts: Sequence[str], *, batch_size: int, device: torch.device) -> FloatArray:
    """Text features, float32 [n, d], not normalised; texts longer than the model's context are cut by its tokenizer.

    Texts of a length go together, padded no further than the longest of a batch where the tower masks its padding.
    """
    if not texts:
        return np.empty((0, 0), np.float32)
    tokens = clip.tokenizer(list(texts), context_length=clip.context_length).numpy()
    pad = _masked_pad(clip.model)
    order = np.arange(len(texts))
    if pad is not None:
        order = np.argsort((tokens != pad).sum(axis=1), kind="stable")

    def encode(batch: NDArray[np.int64]) -> torch.Tensor:
        return clip.model.encode_text(torch.from_numpy(_without_padding(batch, pad)).to(device))

    with torch.inference_mode():
        features = _in_batches(encode, tokens[order], batch_size)
    unsorted = np.empty_like(features)
    unsorted[order] = features
    return unsorted


def unit(features: FloatArray) -> FloatArray:
    """Rows divided by their L2 norms, float32; a row of zeros stays as it is."""
    norms = np.linalg.norm(features.astype(np.float64), axis=-1, keepdims=True)
    return (features / np.where(norms > 0, norms, 1.0)).astype(np.float32)


def _in_batches(encode: Callable[[NDArray[Any]], torch.Tensor], rows: NDArray[Any], size: int) -> FloatArray:
    parts = []
    for begin in range(0, len(rows), size):
        batch = rows[begin : begin + size]
        missing = max(0, LEAST_ROWS - len(batch))
        filled = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)]) if missing else batch
        parts.append(encode(np.ascontiguousarray(filled)).float().cpu().numpy()[: len(batch)])
    return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)


def _masked_pad(model: torch.nn.Module) -> int | None:
    """The padding token of a text tower that masks it (transformers ones do), else None."""
    pad = getattr(getattr(getattr(model, "text", None), "config", None), "pad_token_id", None)
    return pad if isinstance(pad, int) else None


def _without_padding(tokens: NDArray[np.int64], pad: int | None) -> NDArray[np.int64]:
    """`tokens` [n, length] without the last columns that hold nothing but padding."""
    if pad is None:
        return tokens
    used = np.flatnonzero((tokens != pad).any(axis=0))
    return np.ascontiguousarray(tokens[:, : used[-1] + 1]) if len(used) else tokens[:, :1]

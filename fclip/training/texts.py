"""The run's distinct texts: tokenised once, or, where their tower is frozen, encoded once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from fclip.files import atomic_path
from fclip.models.store import Clip
from fclip.progress import progress
from fclip.training.encoder import Encoder, TextBatch
from fclip.training.stop import Interrupted, Stop

BATCH_SIZE = 128


@dataclass(frozen=True)
class Texts:
    """Tokens, int32 [texts, length], and their numbers [texts]; or what a frozen tower gave, float32 [texts, width].

    Attributes:
        weights: float32 [fields], of the texts of a row; None where a row has one.
    """

    encoder: Encoder
    inputs: torch.Tensor
    lengths: torch.Tensor | None
    weights: torch.Tensor | None
    device: torch.device

    def batch(self, rows: NDArray[np.int64]) -> TextBatch:
        """The texts with these numbers, [n, fields], −1 where a row lacks a field; a text that occurs twice is one."""
        present = rows >= 0
        distinct, inverse = np.unique(rows[present], return_inverse=True)
        own, fields = np.nonzero(present)
        inputs = self.inputs[torch.from_numpy(distinct)]
        if self.lengths is not None:
            needed = self.encoder.needed(self.lengths[torch.from_numpy(distinct)])
            inputs = inputs[:, :needed].long()
        return TextBatch(
            inputs=inputs.to(self.device, non_blocking=True),
            texts=torch.from_numpy(inverse).to(self.device),
            rows=torch.from_numpy(own).to(self.device),
            weights=None if self.weights is None else self.weights[torch.from_numpy(fields)].to(self.device),
            num_rows=len(rows),
        )


def tokenised(clip: Clip, encoder: Encoder, texts: Sequence[str], weights: torch.Tensor | None) -> Texts:
    """For a tower that is tuned."""
    parts = [clip.tokenizer(list(texts[begin : begin + 4096])).int() for begin in range(0, len(texts), 4096)]
    tokens = torch.cat(parts)
    return Texts(encoder, tokens, _lengths(clip, tokens), weights, clip.device)


def encoded(
    clip: Clip, encoder: Encoder, texts: Sequence[str], weights: torch.Tensor | None, path: Path, stop: Stop
) -> Texts:
    """For a tower that is frozen, from the file `path`, which is made where it is not there yet.

    Raises:
        Interrupted: told to stop while the tower ran; nothing is kept.
    """
    if not path.exists():
        pooled = _pooled(tokenised(clip, encoder, texts, None), len(texts), stop)
        with atomic_path(path) as temporary:
            save_file({"pooled": pooled.cpu()}, temporary)
    pooled = load_file(path)["pooled"].to(clip.device)
    assert len(pooled) == len(texts)
    return Texts(encoder, pooled, None, weights, clip.device)


def _pooled(texts: Texts, num_texts: int, stop: Stop) -> torch.Tensor:
    # By length, so that a batch holds little padding.
    assert texts.lengths is not None
    by_length = torch.argsort(texts.lengths, stable=True)
    found = []
    batches = by_length.split(BATCH_SIZE)
    for rows in progress(batches, label="encode captions", total=num_texts, unit="texts", size=len):
        if stop(0):
            raise Interrupted("told to stop while captions were encoded")
        tokens = texts.inputs[rows, : texts.encoder.needed(texts.lengths[rows])].long()
        found.append(texts.encoder.pooled_texts(tokens.to(texts.device)))
    return torch.cat(found)[torch.argsort(by_length).to(texts.device)]


def _lengths(clip: Clip, tokens: torch.Tensor) -> torch.Tensor:
    """How many tokens come before the padding."""
    padding = getattr(getattr(getattr(clip.model, "text", None), "config", None), "pad_token_id", None) or 0
    return tokens.shape[1] - (tokens == padding).long().flip(1).cumprod(1).sum(1)

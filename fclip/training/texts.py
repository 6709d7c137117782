"""The distinct texts of a run: tokenised once, or encoded once if the text tower is frozen."""

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
class TextInputs:
    """The inputs of the text tower.

    Attributes:
        inputs: tokens, int32 [texts, length], or the output of a frozen tower, float32 [texts, width].
        lengths: int64 [texts], tokens of each text; None for a frozen tower.
        weights: float32 [fields], weights of the fields; None if a row has one text.
    """

    encoder: Encoder
    inputs: torch.Tensor
    lengths: torch.Tensor | None
    weights: torch.Tensor | None
    device: torch.device

    def batch(self, rows: NDArray[np.int64]) -> TextBatch:
        """Return a batch of the texts with the indices `rows` [n, fields], −1 where a row lacks a field."""
        present = rows >= 0
        distinct, inverse = np.unique(rows[present], return_inverse=True)
        batch_rows, fields = np.nonzero(present)
        inputs = self.inputs[torch.from_numpy(distinct)]
        if self.lengths is not None:
            needed = self.encoder.needed_tokens(self.lengths[torch.from_numpy(distinct)])
            inputs = inputs[:, :needed].long()
        return TextBatch(
            inputs=inputs.to(self.device, non_blocking=True),
            texts=torch.from_numpy(inverse).to(self.device),
            rows=torch.from_numpy(batch_rows).to(self.device),
            weights=None if self.weights is None else self.weights[torch.from_numpy(fields)].to(self.device),
            num_rows=len(rows),
        )


def tokenise_texts(clip: Clip, encoder: Encoder, texts: Sequence[str], weights: torch.Tensor | None) -> TextInputs:
    """Return the tokens of `texts`, for a trained text tower."""
    parts = [clip.tokenizer(list(texts[begin : begin + 4096])).int() for begin in range(0, len(texts), 4096)]
    tokens = torch.cat(parts)
    return TextInputs(encoder, tokens, _lengths(clip, tokens), weights, clip.device)


def load_encoded_texts(
    clip: Clip, encoder: Encoder, texts: Sequence[str], weights: torch.Tensor | None, path: Path, stop: Stop
) -> TextInputs:
    """Return the pooled features of `texts`, for a frozen text tower, cached in the file `path`.

    Raises:
        Interrupted: `stop` returned true during encoding. Nothing is saved.
    """
    if not path.exists():
        pooled = _encode(tokenise_texts(clip, encoder, texts, None), len(texts), stop)
        with atomic_path(path) as temporary:
            save_file({"pooled": pooled.cpu()}, temporary)
    pooled = load_file(path)["pooled"].to(clip.device)
    assert len(pooled) == len(texts)
    return TextInputs(encoder, pooled, None, weights, clip.device)


def _encode(texts: TextInputs, num_texts: int, stop: Stop) -> torch.Tensor:
    # Sorted by length, so that batches have little padding.
    assert texts.lengths is not None
    by_length = torch.argsort(texts.lengths, stable=True)
    features = []
    batches = by_length.split(BATCH_SIZE)
    for rows in progress(batches, label="Encoding captions", total=num_texts, unit="texts", size=len):
        if stop(0):
            raise Interrupted("interrupted while encoding captions; run the command again to resume")
        tokens = texts.inputs[rows, : texts.encoder.needed_tokens(texts.lengths[rows])].long()
        features.append(texts.encoder.pooled_texts(tokens.to(texts.device)))
    return torch.cat(features)[torch.argsort(by_length).to(texts.device)]


def _lengths(clip: Clip, tokens: torch.Tensor) -> torch.Tensor:
    """Return the number of tokens of each text before the padding."""
    padding = getattr(getattr(getattr(clip.model, "text", None), "config", None), "pad_token_id", None) or 0
    return tokens.shape[1] - (tokens == padding).long().flip(1).cumprod(1).sum(1)

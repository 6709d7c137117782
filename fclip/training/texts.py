"""The text side of training: a frozen tower runs once over each distinct caption, a tuned one over every batch."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from fclip.files import atomic_path
from fclip.models.device import autocast
from fclip.models.store import Clip
from fclip.progress import progress
from fclip.training.parts import TextSplit
from fclip.training.stop import Interrupted, Stop

BATCH_SIZE = 128

TextFeatures: TypeAlias = Callable[[NDArray[np.int64]], torch.Tensor]
"""Rows of the run's distinct texts -> their features [n, d] in the shared space, with gradients where tuned."""


def live_texts(clip: Clip, texts: Sequence[str]) -> TextFeatures:
    """Features by the whole text tower, as it is at the time."""

    def features(rows: NDArray[np.int64]) -> torch.Tensor:
        tokens = clip.tokenize([texts[row] for row in rows]).to(clip.device)
        encoded: torch.Tensor = clip.model.encode_text(tokens)  # type: ignore[operator]
        return encoded

    return features


def frozen_texts(clip: Clip, texts: Sequence[str], path: Path, *, stop: Stop) -> TextFeatures:
    """Features by the projection alone, from what the frozen tower gave once; kept in the file `path`.

    Raises:
        Interrupted: told to stop while the tower ran; nothing is kept.
    """
    split = TextSplit.of(clip.model)
    if not path.exists():
        with atomic_path(path) as temporary:
            save_file({"pooled": _pooled(clip, split, texts, stop).cpu()}, temporary)
    pooled = load_file(path)["pooled"].to(clip.device)
    assert len(pooled) == len(texts)
    return lambda rows: split.project(pooled[torch.from_numpy(rows).to(pooled.device)])


@torch.no_grad()
def _pooled(clip: Clip, split: TextSplit, texts: Sequence[str], stop: Stop) -> torch.Tensor:
    # By length, so that a batch holds little padding.
    by_length = sorted(range(len(texts)), key=lambda row: (len(texts[row]), row))
    parts = []
    batches = [by_length[begin : begin + BATCH_SIZE] for begin in range(0, len(texts), BATCH_SIZE)]
    for rows in progress(batches, label="encode captions", total=len(texts), unit="texts", size=len):
        if stop(0):
            raise Interrupted("told to stop while captions were encoded")
        tokens = clip.tokenize([texts[row] for row in rows]).to(clip.device)
        with autocast(clip.device):
            parts.append(split.pooled(tokens).float())
    return torch.cat(parts)[torch.argsort(torch.tensor(by_length, device=clip.device))]

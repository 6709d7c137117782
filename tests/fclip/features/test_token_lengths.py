"""Padding of texts to multiples of a length, so that features do not depend on the other texts of a batch."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fclip.features.encode import MIN_ROWS, encode_texts
from fclip.models.preprocess import Preprocess
from fclip.models.store import Clip

PADDING = 0


class Recorder(torch.nn.Module):
    """A text tower that masks padding and records input shapes. The feature of a text is its number of words."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.text = SimpleNamespace(config=SimpleNamespace(pad_token_id=PADDING))
        self.shapes: list[tuple[int, ...]] = []

    def encode_text(self, tokens: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(tokens.shape))
        return (tokens != PADDING).sum(dim=1, keepdim=True) * self.weight


def tokenize(texts: list[str]) -> torch.Tensor:
    tokens = torch.full((len(texts), 40), PADDING)
    for row, text in enumerate(texts):
        tokens[row, : len(text.split())] = 1
    return tokens


@pytest.fixture
def clip() -> Clip:
    preprocess = Preprocess(size=8, mean=(0.5,) * 3, std=(0.5,) * 3)
    return Clip(Recorder(), tokenize, preprocess, 40, "0" * 64, "0" * 64, Path())


def test_lengths_are_multiples_of_the_step_up_to_the_context_length(clip: Clip) -> None:
    texts = ["w " * count for count in (35, 3, 17, 16, 1)]
    features = encode_texts(clip, texts, batch_size=1)
    assert features[:, 0].tolist() == [35, 3, 17, 16, 1]
    assert clip.model.shapes == [(MIN_ROWS, length) for length in (16, 16, 16, 32, 40)]


def test_the_length_of_a_batch_is_that_of_its_longest_text(clip: Clip) -> None:
    texts = ["w " * count for count in np.random.default_rng(0).integers(1, 36, size=64)]
    encode_texts(clip, texts, batch_size=32)
    assert [rows for rows, _ in clip.model.shapes] == [32, 32]
    assert clip.model.shapes[0][1] < clip.model.shapes[1][1] == 40


def test_lengths_are_exact_without_a_step(clip: Clip) -> None:
    assert clip.tokenize(["w w w", "w"]).shape == (2, 3)
    assert clip.tokenize([""]).shape == (1, 1)

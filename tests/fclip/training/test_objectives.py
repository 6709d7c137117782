"""Losses compared with open_clip and with loops; micro-batches, regularization and text batches."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given
from hypothesis import strategies as st
from open_clip.loss import ClipLoss, SigLipLoss

from fclip.images.tensors import normalise
from fclip.models import store
from fclip.training.config import RegularizationConfig
from fclip.training.encoder import Encoder, TextBatch
from fclip.training.learner import BatchInputs, Captions, Learner
from fclip.training.objectives import Contrast, clip_loss, divergence, positive_mask, siglip_loss, unit
from fclip.training.processes import World
from fclip.training.trainable import freeze_all_except, trainable_names
from tests.fclip.training.training_jobs import make_config, make_objective

SCALE = torch.tensor(20.0)


def features(seed: int, rows: int = 7, width: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return unit(torch.randn(rows, width, generator=generator)), unit(torch.randn(rows, width, generator=generator))


def test_losses_of_pairs_equal_open_clip() -> None:
    images, texts = features(0)
    contrast = Contrast.single_process(images, texts)
    torch.testing.assert_close(clip_loss(contrast, SCALE), ClipLoss()(images, texts, SCALE))
    bias = torch.tensor(-3.0)
    torch.testing.assert_close(siglip_loss(contrast, SCALE, bias), SigLipLoss()(images, texts, SCALE, bias))


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=8), st.integers(0, 99))
def test_losses_with_several_positives_equal_a_double_loop(codes: list[int], seed: int) -> None:
    images, texts = features(seed, len(codes))
    positive = positive_mask(torch.tensor(codes), rows=slice(None))
    contrast = Contrast.single_process(images, texts, positive)
    logits = (SCALE * images @ texts.T).double()
    bias = torch.tensor(-2.0)
    clip, siglip = 0.0, 0.0
    count = len(codes)
    for i in range(count):
        positives_of_row = [j for j in range(count) if i == j or (codes[i] == codes[j] >= 0)]
        for rows in (logits[i], logits[:, i]):
            log_sum = math.log(sum(math.exp(rows[j]) for j in range(count)))
            clip += sum(log_sum - float(rows[j]) for j in positives_of_row) / len(positives_of_row) / (2 * count)
        for j in range(count):
            sign = 1 if j in positives_of_row else -1
            siglip += math.log1p(math.exp(-sign * (float(logits[i, j]) + float(bias)))) / count
    assert float(clip_loss(contrast, SCALE)) == pytest.approx(clip, rel=1e-4, abs=1e-5)
    assert float(siglip_loss(contrast, SCALE, bias)) == pytest.approx(siglip, rel=1e-4, abs=1e-5)


def test_rows_with_any_common_code_are_positives() -> None:
    found = positive_mask(torch.tensor([0, 1, 0, -1]), torch.tensor([5, 6, 7, 6]), rows=slice(1, 4))
    assert found.tolist() == [
        [False, True, False, True],
        [True, False, True, False],
        [False, True, False, True],
    ]


def test_divergence_equals_its_definition_and_is_zero_for_one_model() -> None:
    ours, reference = Contrast.single_process(*features(0)), Contrast.single_process(*features(1))
    assert float(divergence(ours, SCALE, ours, SCALE)) == pytest.approx(0, abs=1e-6)
    softmax = F.softmax(SCALE * reference.images @ reference.texts.T, dim=1)
    log_ratio = softmax.log() - F.log_softmax(SCALE * ours.images @ ours.texts.T, dim=1)
    of_images = (softmax * log_ratio).sum(1).mean()
    softmax_of_texts = F.softmax(SCALE * reference.texts @ reference.images.T, dim=1)
    log_ratio = softmax_of_texts.log() - F.log_softmax(SCALE * ours.texts @ ours.images.T, dim=1)
    of_texts = (softmax_of_texts * log_ratio).sum(1).mean()
    torch.testing.assert_close(divergence(ours, SCALE, reference, SCALE), (of_images + of_texts) / 2)


def make_learner(folder: Path, *, world: World | None = None, base: Any = None, **changes: Any) -> Learner:
    config = make_config(**changes)
    clip = store.load(folder)
    freeze_all_except(clip.model, trainable_names(clip.model, config))
    return Learner(clip, config, world or World(), base)


def inputs_of(learner: Learner, texts: list[str], own: slice = slice(None)) -> BatchInputs:
    """Return the rows `own` of a batch with these texts and random pixels. Rows with equal texts are positives."""
    tokens = learner.clip.tokenize(texts)[own]
    if not learner.encoder.text_is_tuned:
        tokens = learner.encoder.pooled_texts(tokens)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (len(texts), 32, 32, 3), dtype=torch.uint8, generator=generator)

    def batch(rows: slice) -> TextBatch:
        chosen = tokens[rows]
        return TextBatch(chosen, torch.arange(len(chosen)), torch.arange(len(chosen)), None, len(chosen))

    codes = torch.tensor([texts.index(text) for text in texts])
    return BatchInputs(pixels[own], (Captions(batch, positive_mask(codes, rows=own)),))


TEXTS = [f"{colour} coat number {number}" for number, colour in enumerate(["red", "blue", "green", "black", "white"])]


@pytest.mark.parametrize("loss", ["clip", "siglip"])
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_micro_batches_have_the_gradient_of_the_whole_batch(loss: str, rows: int, tiny_base_model: Path) -> None:
    whole = make_learner(tiny_base_model, objective=make_objective(loss=loss), clip_grad_norm=1e9)
    cached = make_learner(
        tiny_base_model, objective=make_objective(loss=loss, micro_batch_size=rows), clip_grad_norm=1e9
    )
    inputs = inputs_of(whole, TEXTS)
    first, second = (each.update(inputs, rate=0.0, num_updates=0, seed=1) for each in (whole, cached))
    assert first.loss == pytest.approx(second.loss, rel=1e-6)
    for name, parameter in whole.parameters.items():
        torch.testing.assert_close(parameter.grad, cached.parameters[name].grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("trainable", ["image_only", "all"])
def test_the_loss_of_several_captions_is_the_mean_of_their_losses(trainable: str, tiny_base_model: Path) -> None:
    shorter = [text.removesuffix(f" number {number}") for number, text in enumerate(TEXTS)]
    gradients: dict[str, list[torch.Tensor]] = {}
    losses = []
    for texts in ([TEXTS], [shorter], [TEXTS, shorter]):
        for rows in (None, 2):
            learner = make_learner(
                tiny_base_model,
                trainable=trainable,
                objective=make_objective(captions_per_image=2, micro_batch_size=rows),
                clip_grad_norm=1e9,
                base=store.load(tiny_base_model).model,
                regularization=RegularizationConfig(similarities=1.0),
            )
            batches = [inputs_of(learner, each) for each in texts]
            inputs = BatchInputs(batches[0].images, tuple(each.captions[0] for each in batches))
            losses.append(learner.update(inputs, rate=0.0, num_updates=0, seed=1).loss)
            for name, parameter in learner.parameters.items():
                assert parameter.grad is not None
                gradients.setdefault(name, []).append(parameter.grad)
    assert losses[4] == pytest.approx((losses[0] + losses[2]) / 2, rel=1e-6)
    assert losses[1::2] == pytest.approx(losses[::2], rel=1e-6)
    for each in gradients.values():
        torch.testing.assert_close(each[4], (each[0] + each[2]) / 2, rtol=1e-3, atol=2e-5)
        torch.testing.assert_close(each[5], each[4], rtol=1e-3, atol=2e-5)


def test_siglip_overfits_one_batch(tiny_base_model: Path) -> None:
    learner = make_learner(tiny_base_model, objective=make_objective(loss="siglip"))
    inputs = inputs_of(learner, TEXTS)
    losses = [learner.update(inputs, rate=3e-3, num_updates=n, seed=n).loss for n in range(60)]
    assert losses[0] < 4  # the initial bias fits the base model
    assert losses[-1] < 0.2


@pytest.mark.parametrize(
    "regularization", [{"weights": 200.0, "similarities": 0.0}, {"weights": 0.0, "similarities": 20.0}]
)
def test_regularization_keeps_similarities_near_the_base_model(
    regularization: dict[str, float], tiny_base_model: Path
) -> None:
    base_model = store.load(tiny_base_model).model.requires_grad_(False)
    changes = []
    for setting in (RegularizationConfig(weights=0.0, similarities=0.0), RegularizationConfig(**regularization)):
        learner = make_learner(tiny_base_model, base=base_model, regularization=setting)
        inputs = inputs_of(learner, TEXTS)
        for n in range(20):
            learner.update(inputs, rate=2e-3, num_updates=n, seed=n)
        with torch.no_grad():
            now, then = (
                unit(model.encode_text(learner.clip.tokenize(TEXTS))) @ unit(encode_pixels(model, inputs)).T
                for model in (learner.clip.model, base_model)
            )
        changes.append(float((now - then).abs().mean()))
    assert changes[1] < 0.7 * changes[0]


def encode_pixels(model: Any, inputs: BatchInputs) -> torch.Tensor:
    features: torch.Tensor = model.encode_image(normalise(inputs.images, store.preprocess_of(model)))
    return features


@pytest.mark.parametrize("texts", [["a"], ["a red coat", "hat"], ["a very long text " * 9, "b"]])
def test_truncating_tokens_does_not_change_features(texts: list[str], tiny_base_model: Path) -> None:
    clip = store.load(tiny_base_model)
    encoder = Encoder(clip, "fp32", image_is_tuned=True, text_is_tuned=True)
    tokens = clip.tokenizer(texts)
    lengths = (tokens != 0).sum(1)
    needed = encoder.needed_tokens(lengths)
    assert needed is not None
    batch = TextBatch(tokens[:, :needed], torch.arange(len(texts)), torch.arange(len(texts)), None, len(texts))
    torch.testing.assert_close(encoder.texts(batch), unit(clip.model.encode_text(tokens)), rtol=1e-5, atol=1e-6)
    assert needed == min(24, -(-int(lengths.max()) // 8) * 8)


def test_features_of_several_fields_are_their_weighted_mean(tiny_base_model: Path) -> None:
    clip = store.load(tiny_base_model)
    encoder = Encoder(clip, "fp32", image_is_tuned=True, text_is_tuned=True)
    tokens = clip.tokenizer(["red coat", "coat", "blue hat"])
    one, two, three = unit(clip.model.encode_text(tokens))
    batch = TextBatch(
        tokens, torch.tensor([0, 1, 2]), torch.tensor([0, 0, 1]), torch.tensor([0.75, 0.25, 0.75]), num_rows=2
    )
    expected = torch.stack([unit((0.75 * one + 0.25 * two)[None])[0], three])
    torch.testing.assert_close(encoder.texts(batch), expected)


def test_positive_mask_accepts_tensors_from_numpy() -> None:
    assert positive_mask(torch.from_numpy(np.array([1, 1])), rows=slice(None)).all()

"""The training loop: from where the last checkpoint is to the end, leaving candidates on the way.

All randomness is a function of the seed and the step, so that a run that was interrupted and goes on sees what an
uninterrupted one sees, and on a CPU ends with the same bits.
"""

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fclip.errors import UserError
from fclip.images.pixels import normalise
from fclip.models.device import autocast
from fclip.models.store import Clip
from fclip.training import checkpoint, output, parts
from fclip.training.augment import augment
from fclip.training.checkpoint import Progress
from fclip.training.config import FinetuneConfig
from fclip.training.draws import derive
from fclip.training.objective import clip_loss
from fclip.training.schedule import candidate_steps, learning_rate
from fclip.training.stop import Interrupted, Stop
from fclip.training.texts import TextFeatures

__all__ = ["Interrupted", "Pairs", "train"]

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10.0


@dataclass(frozen=True)
class Pairs:
    """Pixels, and which of them goes with which text.

    Attributes:
        pixels: uint8 [images, size, size, 3].
        images, texts: int64 [passes, pairs], rows of `pixels` and of the run's texts, in the order they are seen.
    """

    pixels: NDArray[np.uint8]
    images: NDArray[np.int64]
    texts: NDArray[np.int64]


def train(
    clip: Clip,
    config: FinetuneConfig,
    *,
    seed: int,
    training: Pairs,
    validation: Pairs,
    texts: TextFeatures,
    checkpoint_path: Path,
    out_dir: Path,
    stop: Stop,
) -> None:
    """Tune `clip.model` in place and write candidates and curves to `out_dir`.

    Args:
        clip: the start, its parameters frozen where they are not tuned (`parts.freeze_others`).
        training: pixels larger than the model's size, for crops; as many passes as `config.epochs`.
        validation: pixels of the model's size; one pass.
        checkpoint_path: what an interrupted run goes on from, and this one saves to.

    Raises:
        UserError: fewer training pairs than a batch, or the loss left the finite numbers.
        Interrupted: told to stop; the step was finished and saved.
    """
    steps_per_epoch = training.images.shape[1] // config.batch_size
    if not steps_per_epoch:
        raise UserError(
            f"{training.images.shape[1]} training products are fewer than one batch of {config.batch_size}: "
            "lower finetune.batch_size in params.yaml, or ingest more products"
        )
    num_steps = steps_per_epoch * config.epochs
    candidates = (0, *candidate_steps(num_steps, config.num_candidates))
    optimiser = torch.optim.AdamW(
        parts.parameter_groups(clip.model, config.weight_decay),
        lr=config.learning_rate,
        betas=config.betas,
        fused=clip.device.type == "cuda",
    )
    done = Progress(step=0, history=[], validation=[])
    if checkpoint_path.exists():
        done = checkpoint.load(checkpoint_path, clip.model, optimiser)
        logger.info("go on from step %d of %d", done.step, num_steps)
    step, history, losses = done.step, list(done.history), list(done.validation)
    tell = _Teller(num_steps, steps_per_epoch, config.batch_size, step)
    while True:
        if step in candidates and step not in {int(row[0]) for row in losses}:
            output.save_candidate(clip.model, step=step, start=clip.path, out_dir=out_dir)
            loss = validation_loss(clip, validation, texts, batch_size=config.batch_size, step=step, stop=stop)
            _require_finite(loss, "validation loss", step, config)
            losses.append([float(step), loss])
            tell.candidate(step, loss)
        if step == num_steps:
            break
        rate = learning_rate(
            step, num_steps=num_steps, peak=config.learning_rate, warmup_fraction=config.warmup_fraction
        )
        epoch, place = divmod(step, steps_per_epoch)
        rows = slice(place * config.batch_size, (place + 1) * config.batch_size)
        pixels = training.pixels[training.images[epoch, rows]]
        loss, norm = _step(
            clip,
            optimiser,
            config,
            pixels,
            training.texts[epoch, rows],
            texts,
            rate=rate,
            seed=derive(seed, "step", step),
        )
        step += 1
        _require_finite(loss, "loss", step, config)
        _require_finite(norm, "gradient", step, config)
        scale = float(_logit_scale(clip.model).detach().exp())
        history.append([float(step), output.epoch(step, steps_per_epoch), rate, loss, norm, scale])
        tell.step(step, loss, rate)
        stopping = stop(step)
        if stopping or step in candidates or step % config.checkpoint_every == 0:
            checkpoint.save(checkpoint_path, clip.model, optimiser, Progress(step, history, losses))
        if stopping:
            raise Interrupted(f"stopped after step {step} of {num_steps}, which is saved; run it again to go on")
    output.write_history(out_dir, history, losses)
    output.write_candidates(out_dir, candidates, steps_per_epoch=steps_per_epoch)


@torch.no_grad()
def validation_loss(clip: Clip, pairs: Pairs, texts: TextFeatures, *, batch_size: int, step: int, stop: Stop) -> float:
    """Mean contrastive loss over full batches in a fixed order; fewer pairs than a batch are one batch."""
    parts.set_mode(clip.model, "all", training=False)
    size = min(batch_size, pairs.images.shape[1])
    losses = []
    for begin in range(0, pairs.images.shape[1] - size + 1, size):
        if stop(step):
            raise Interrupted(f"stopped while step {step} was validated; run it again to go on")
        rows = slice(begin, begin + size)
        pixels = torch.from_numpy(pairs.pixels[pairs.images[0, rows]]).to(clip.device)
        with autocast(clip.device):
            image_features = clip.model.encode_image(normalise(pixels, clip.preprocess))  # type: ignore[operator]
            text_features = texts(pairs.texts[0, rows])
        losses.append(float(clip_loss(image_features, text_features, _logit_scale(clip.model).exp())))
    return sum(losses) / len(losses)


def _step(
    clip: Clip,
    optimiser: torch.optim.Optimizer,
    config: FinetuneConfig,
    pixels: NDArray[np.uint8],
    text_rows: NDArray[np.int64],
    texts: TextFeatures,
    *,
    rate: float,
    seed: int,
) -> tuple[float, float]:
    """One update; returns the loss before it and the length of its gradient before clipping."""
    torch.manual_seed(seed)  # for dropout; a run restores the caller's state at its end
    generator = torch.Generator().manual_seed(seed)
    parts.set_mode(clip.model, config.trainable, training=True)
    for group in optimiser.param_groups:
        group["lr"] = rate
    batch = augment(
        torch.from_numpy(pixels).to(clip.device), config.augment, size=clip.preprocess.size, generator=generator
    )
    with autocast(clip.device):
        image_features = clip.model.encode_image(normalise(batch, clip.preprocess))  # type: ignore[operator]
        text_features = texts(text_rows)
    scale = _logit_scale(clip.model)
    loss = clip_loss(image_features, text_features, scale.exp())
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    tuned = [parameter for parameter in clip.model.parameters() if parameter.requires_grad]
    norm = torch.nn.utils.clip_grad_norm_(tuned, config.clip_grad_norm)
    optimiser.step()
    with torch.no_grad():
        scale.clamp_(0, math.log(config.max_logit_scale))
    return float(loss.detach()), float(norm)


def _logit_scale(model: Any) -> torch.Tensor:
    scale: torch.Tensor = model.logit_scale
    return scale


def _require_finite(value: float, what: str, step: int, config: FinetuneConfig) -> None:
    if not math.isfinite(value):
        raise UserError(
            f"the {what} is {value} at step {step}: lower finetune.learning_rate (now {config.learning_rate:g}) "
            "in params.yaml, or lengthen finetune.warmup_fraction"
        )


class _Teller:
    """Lines for the log at readable intervals: the first step, then one every few seconds, and each candidate."""

    def __init__(self, num_steps: int, steps_per_epoch: int, batch_size: int, first: int) -> None:
        self._num_steps, self._steps_per_epoch, self._batch_size = num_steps, steps_per_epoch, batch_size
        self._began = self._last = time.monotonic()
        self._first, self._since, self._pace = first, first, 0.0

    def step(self, step: int, loss: float, rate: float) -> None:
        now = time.monotonic()
        if step not in (self._first + 1, self._num_steps) and now - self._last < SECONDS_BETWEEN_LINES:
            return
        pace = (step - self._since) / max(now - self._last, 1e-9)
        left = round((self._num_steps - step) / pace)
        logger.info(
            "step %d/%d  epoch %.2f  loss %.3f  lr %.2e  %.0f images/s  ETA %d:%02d",
            step,
            self._num_steps,
            step / self._steps_per_epoch,
            loss,
            rate,
            pace * self._batch_size,
            left // 60,
            left % 60,
        )
        self._last, self._since = now, step

    def candidate(self, step: int, loss: float) -> None:
        logger.info("candidate %s: validation loss %.4f", output.candidate_name(step), loss)
        self._last, self._since = time.monotonic(), step

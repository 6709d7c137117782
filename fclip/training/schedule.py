"""The schedule of a run: its phases, the learning rate of each step, and the steps at which candidates are saved."""

import math
from dataclasses import dataclass, replace

from fclip.training.config import FinetuneConfig


@dataclass(frozen=True)
class Phase:
    """Steps `begin` to `end` − 1, which train the same parameters with one learning-rate schedule.

    Attributes:
        rate_key: the setting that its highest learning rate comes from.
    """

    config: FinetuneConfig
    begin: int
    end: int
    rate_key: str = "finetune.learning_rate"


def phases(config: FinetuneConfig, steps_per_epoch: int) -> tuple[Phase, ...]:
    """Return the phases of a run: with `heads_first`, one that trains only the projections; then the main one."""
    first = config.heads_first
    if first is None:
        return (Phase(config, 0, config.epochs * steps_per_epoch),)
    heads = replace(
        config,
        trainable="heads",
        epochs=first.epochs,
        learning_rate=first.learning_rate,
        heads_first=None,
        last_layers=None,
        lora_rank=None,
    )
    boundary = first.epochs * steps_per_epoch
    rest = Phase(replace(config, heads_first=None), boundary, boundary + config.epochs * steps_per_epoch)
    return Phase(heads, 0, boundary, rate_key="finetune.heads_first.learning_rate"), rest


def learning_rate(step: int, *, num_steps: int, peak: float, warmup_fraction: float) -> float:
    """Return the learning rate of `step` (from 0): linear warm-up to `peak`, then cosine decay to 0."""
    warmup = round(warmup_fraction * num_steps)
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, num_steps - warmup)))


def candidate_steps(num_steps: int, num_candidates: int) -> tuple[int, ...]:
    """Return the numbers of steps after which a candidate is saved. The last step is always included.

    They are spaced quadratically, dense early: the model that generalises best is often close to the base model.
    """
    return tuple(sorted({-(-num_steps * k**2 // num_candidates**2) for k in range(1, num_candidates + 1)}))

"""The training loop: from where the last checkpoint is to the end, leaving candidates on the way.

All randomness is a function of the seed and the step, so that a run that was interrupted and goes on sees what an
uninterrupted one sees, and on a CPU ends with the same bits.
"""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from fclip.errors import UserError
from fclip.models.store import Clip
from fclip.training import checkpoint, output, parts
from fclip.training.checkpoint import Progress
from fclip.training.compiling import compiles
from fclip.training.config import FinetuneConfig
from fclip.training.draws import derive
from fclip.training.feed import Data, Feed
from fclip.training.learner import Learner
from fclip.training.low_rank import add_low_rank_updates, merged_state
from fclip.training.processes import World
from fclip.training.schedule import candidate_steps, learning_rate
from fclip.training.stop import Interrupted, Stop
from fclip.training.watch import Watch

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Phase:
    """Steps from `begin` to before `end`, in which the same parts are tuned under one schedule."""

    config: FinetuneConfig
    begin: int
    end: int


def phases(config: FinetuneConfig, steps_per_epoch: int) -> tuple[Phase, ...]:
    """The projections first, where that is wished; then what is to be tuned."""
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
    return Phase(heads, 0, boundary), rest


def train(
    clip: Clip,
    config: FinetuneConfig,
    data: Data,
    *,
    seed: int,
    world: World,
    checkpoints: Path,
    out_dir: Path,
    stop: Stop,
    watch: Watch,
) -> None:
    """Tune `clip.model` in place and write candidates and curves to `out_dir`.

    Args:
        clip: the start.
        checkpoints: what an interrupted run goes on from, and this one saves to.
        watch: told of each step.

    Raises:
        UserError: fewer training products than a batch, memory or disk did not suffice, or too many updates were not
            finite.
        Interrupted: told to stop; the step was finished and saved.
    """
    steps_per_epoch = data.training.images.shape[1] // config.batch_size
    stages = phases(config, steps_per_epoch)
    num_steps = stages[-1].end
    candidates = (0, *candidate_steps(num_steps, config.num_candidates))
    found = checkpoint.load(checkpoints)
    done = Progress(0, 0, [], []) if found is None else found.progress
    if found is not None:
        logger.info("go on from step %d of %d", done.step, num_steps)
    watch.begin(num_steps, steps_per_epoch, config.batch_size, done.step)
    start = _frozen_copy(clip.model) if config.near_start.weights or config.near_start.similarities else None
    for phase in stages:
        due = {done.step} & set(candidates) - {int(row[0]) for row in done.validation}
        if done.step > phase.end or (done.step == phase.end < num_steps and not due):
            continue
        if found is not None and done.step == phase.begin:
            found.restore_model(clip.model)
        _choose(clip.model, phase.config, seed)
        with _explained_memory(config):
            compiled = compiles(phase.config.compile, clip.device, phase.end - phase.begin)
            learner = Learner(clip, phase.config, world, start, compiled=compiled)
            if found is not None and done.step > phase.begin:
                found.restore(learner)
            logger.info("%s: %s", phase.config.trainable, learner.encoder.formats)
            with Feed(clip, learner.encoder, phase.config, data, world, seed=seed, stop=stop) as feed:
                run = _Run(learner, feed, phase, candidates, num_steps, seed, world, checkpoints, out_dir, stop, watch)
                done, found = run.go(done), None
    if world.leads:
        output.write_history(out_dir, done.history, done.validation)
        output.write_candidates(out_dir, done.validation, steps_per_epoch=steps_per_epoch)


@dataclass(frozen=True)
class _Run:
    """One phase, step by step."""

    learner: Learner
    feed: Feed
    phase: Phase
    candidates: Sequence[int]
    num_steps: int
    seed: int
    world: World
    checkpoints: Path
    out_dir: Path
    stop: Stop
    watch: Watch

    def go(self, done: Progress) -> Progress:
        """Take the steps of the phase that are not done yet; returns how far that is."""
        config, phase = self.phase.config, self.phase
        step, num_skipped = done.step, done.num_skipped
        history, losses = list(done.history), list(done.validation)
        self._keep_candidate(step, losses)
        for inputs, waited in self.feed.training(step, phase.end):
            rate = learning_rate(
                step - phase.begin,
                num_steps=phase.end - phase.begin,
                peak=config.learning_rate,
                warmup_fraction=config.warmup_fraction,
            )
            update = self.learner.update(
                inputs, rate=rate, num_updates=step - phase.begin - num_skipped, seed=derive(self.seed, "step", step)
            )
            step += 1
            if not update.applied:
                num_skipped += 1
                self._explain_skipped(step, num_skipped, update.loss)
            epoch = output.epoch(step, self.feed.steps_per_epoch)
            row = [step, epoch, rate, update.loss, update.gradient_norm, self.learner.logit_scale, not update.applied]
            history.append([float(value) for value in row])
            self.watch.step(step, history[-1], waited)
            stopping = self.world.any(self.stop(step), self.learner.clip.device)
            due = stopping or step in self.candidates or step % config.checkpoint_every == 0 or step == phase.end
            if due and self.world.leads:
                checkpoint.save(self.checkpoints, self.learner, Progress(step, num_skipped, history, losses))
            if stopping:
                raise Interrupted(
                    f"stopped after step {step} of {self.num_steps}, which is saved; run it again to go on"
                )
            self._keep_candidate(step, losses)
        return Progress(step, num_skipped, history, losses)

    def _keep_candidate(self, step: int, losses: list[list[float]]) -> None:
        """Where a candidate is due after so many steps: save it, validate it, and add its loss; then its mean's."""
        if step not in self.candidates or step in {int(row[0]) for row in losses}:
            return
        losses.append([float(step), self._keep(step, output.candidate_name(step)), 0.0])
        if step and self.learner.mean is not None:
            with self.learner.mean.in_place():
                losses.append([float(step), self._keep(step, output.candidate_name(step, mean=True)), 1.0])

    def _keep(self, step: int, name: str) -> float:
        if self.world.leads:
            clip = self.learner.clip
            output.save_candidate(merged_state(clip.model), name, start=clip.path, out_dir=self.out_dir)
        loss = self._validation_loss(step)
        if not math.isfinite(loss):
            raise UserError(f"the validation loss is {loss} at step {step}: {_remedy(self.phase.config)}")
        self.watch.candidate(name, step, loss)
        return loss

    def _validation_loss(self, step: int) -> float:
        """Mean loss over full batches in a fixed order."""
        found = []
        for inputs in self.feed.validation():
            if self.stop(step) and self.world.size == 1:
                raise Interrupted(f"stopped while step {step} was validated; run it again to go on")
            found.append(self.learner.loss(inputs))
        device = self.learner.clip.device
        sums = self.world.mean(torch.tensor([sum(found), float(len(found))], dtype=torch.float64, device=device))
        return float(sums[0] / sums[1])

    def _explain_skipped(self, step: int, num_skipped: int, loss: float) -> None:
        config = self.phase.config
        ids = ", ".join(self.feed.product_ids(step - 1, 5))
        logger.warning("step %d is left out: loss or gradient is not finite (loss %g; products %s, …)", step, loss, ids)
        if num_skipped > config.max_skipped_steps:
            raise UserError(
                f"the loss or its gradient was not finite in {num_skipped} steps, the last of them step {step} "
                f"(loss {loss:g}; products {ids}, …): {_remedy(config)}"
            )


def _choose(model: nn.Module, config: FinetuneConfig, seed: int) -> None:
    """Let what is to be tuned have gradients, and nothing else."""
    names = parts.trained_names(model, config)
    if config.lora_rank is not None:
        heads = parts.heads_of(names)
        names = heads | add_low_rank_updates(model, names - heads, config.lora_rank, derive(seed, "low rank"))
    parts.freeze_others(model, names)


def _frozen_copy(model: nn.Module) -> nn.Module:
    return deepcopy(model).requires_grad_(False).eval()


def _remedy(config: FinetuneConfig) -> str:
    return (
        f"lower finetune.learning_rate (now {config.learning_rate:g}) in params.yaml, or lengthen "
        "finetune.warmup_fraction"
    )


@contextmanager
def _explained_memory(config: FinetuneConfig) -> Iterator[None]:
    """Within, an allocation that fails is a UserError that names what takes less."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        failed = isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error)
        if not failed:
            raise
        rows = config.objective.micro_batch_size or config.batch_size
        raise UserError(
            f"out of memory with {rows} rows at once: lower finetune.objective.micro_batch_size (the batch and what "
            "is learned stay as they are), or set finetune.gradient_checkpointing, or finetune.precision: bf16"
        ) from error

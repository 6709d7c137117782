"""The training loop: from the last checkpoint to the end of the run; it saves candidates on the way.

One step is: inputs from the loader (`loader.py`), an update by the learner (`learner.py`) with a loss of
`objectives.py`, then a checkpoint and a candidate if they are due. All randomness is a function of the seed and the
step: a run that was interrupted sees the same data as an uninterrupted one, and on a CPU ends with the same bits.
"""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from fclip.errors import UserError
from fclip.models.store import Clip
from fclip.training import checkpoint, output
from fclip.training.checkpoint import Progress, Validated
from fclip.training.compute import should_compile
from fclip.training.config import FinetuneConfig
from fclip.training.learner import Learner
from fclip.training.loader import Loader, TrainingData
from fclip.training.low_rank import add_low_rank_updates, merged_state
from fclip.training.processes import World
from fclip.training.sampling import derive
from fclip.training.schedule import Phase, candidate_steps, learning_rate, phases
from fclip.training.stop import Interrupted, Stop
from fclip.training.trainable import freeze_others, heads_of, trainable_names
from fclip.training.training_log import TrainingLog

logger = logging.getLogger(__name__)


def train(
    clip: Clip,
    config: FinetuneConfig,
    data: TrainingData,
    *,
    seed: int,
    world: World,
    checkpoints: Path,
    out_dir: Path,
    stop: Stop,
    log: TrainingLog,
) -> None:
    """Train `clip.model` in place and write candidates and curves to `out_dir`.

    Args:
        clip: the base model.
        checkpoints: folder that an interrupted run resumes from, and that this one saves to.
        log: receives each step and candidate.

    Raises:
        UserError: fewer training products than a batch, memory or disk did not suffice, or too many updates were not
            finite.
        Interrupted: told to stop; the step was finished and saved.
    """
    steps_per_epoch = data.training.images.shape[1] // config.batch_size
    planned = phases(config, steps_per_epoch)
    num_steps = planned[-1].end
    candidates = (0, *candidate_steps(num_steps, config.num_candidates))
    found = checkpoint.load(checkpoints)
    done = Progress(0, 0, [], []) if found is None else found.progress
    if found is not None:
        logger.info("go on from step %d of %d", done.step, num_steps)
    log.begin(num_steps, steps_per_epoch, config.batch_size, done.step)
    base = _frozen_copy(clip.model) if config.regularization.weights or config.regularization.similarities else None
    for phase in planned:
        due = {done.step} & set(candidates) - {one.step for one in done.validated}
        if done.step > phase.end or (done.step == phase.end < num_steps and not due):
            continue
        if found is not None and done.step == phase.begin:
            found.restore_model(clip.model)
        _freeze(clip.model, phase.config, seed)
        with _explained_memory(config):
            compiled = should_compile(phase.config.compile, clip.device, phase.end - phase.begin)
            learner = Learner(clip, phase.config, world, base, compiled=compiled)
            if found is not None and done.step > phase.begin:
                found.restore(learner)
            logger.info("%s: %s", phase.config.trainable, learner.encoder.formats)
            with Loader(clip, learner.encoder, phase.config, data, world, seed=seed, stop=stop) as loader:
                run = _Run(learner, loader, phase, candidates, num_steps, seed, world, checkpoints, out_dir, stop, log)
                done, found = run.go(done), None
    if world.leads:
        output.write_result(out_dir, done.history, done.validated, steps_per_epoch=steps_per_epoch)


@dataclass(frozen=True)
class _Run:
    """One phase, step by step."""

    learner: Learner
    loader: Loader
    phase: Phase
    candidates: Sequence[int]
    num_steps: int
    seed: int
    world: World
    checkpoints: Path
    out_dir: Path
    stop: Stop
    log: TrainingLog

    def go(self, done: Progress) -> Progress:
        """Take the steps of the phase that are not done yet and return the progress after them."""
        config, phase = self.phase.config, self.phase
        step, num_skipped = done.step, done.num_skipped
        history, validated = list(done.history), list(done.validated)
        self._keep_candidate(step, validated)
        for inputs, waited in self.loader.training(step, phase.end):
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
            epoch = output.epoch(step, self.loader.steps_per_epoch)
            row = [step, epoch, rate, update.loss, update.gradient_norm, self.learner.logit_scale, not update.applied]
            history.append([float(value) for value in row])
            self.log.step(step, history[-1], waited)
            stopping = self.world.any(self.stop(step), self.learner.clip.device)
            due = stopping or step in self.candidates or step % config.checkpoint_every == 0 or step == phase.end
            if due and self.world.leads:
                checkpoint.save(self.checkpoints, self.learner, Progress(step, num_skipped, history, validated))
            if stopping:
                raise Interrupted(
                    f"stopped after step {step} of {self.num_steps}, which is saved; run it again to go on"
                )
            self._keep_candidate(step, validated)
        return Progress(step, num_skipped, history, validated)

    def _keep_candidate(self, step: int, validated: list[Validated]) -> None:
        """If a candidate is due after `step` updates: save it, validate it and add it; then its moving average."""
        if step not in self.candidates or step in {one.step for one in validated}:
            return
        validated.append(self._keep("checkpoint" if step else "base", step))
        if step and self.learner.ema is not None:
            with self.learner.ema.in_place():
                validated.append(self._keep("ema", step))

    def _keep(self, kind: str, step: int) -> Validated:
        if self.world.leads:
            clip = self.learner.clip
            output.save_candidate(merged_state(clip.model), kind, step, base_model=clip.path, out_dir=self.out_dir)
        loss = self._validation_loss(step)
        if not math.isfinite(loss):
            raise UserError(f"the validation loss is {loss} at step {step}: {_remedy(self.phase.config)}")
        self.log.candidate(output.candidate_name(kind, step), step, loss)
        return Validated(kind, step, loss)

    def _validation_loss(self, step: int) -> float:
        """Mean loss over full batches in a fixed order."""
        found = []
        for inputs in self.loader.validation():
            if self.stop(step) and self.world.size == 1:
                raise Interrupted(f"stopped while step {step} was validated; run it again to go on")
            found.append(self.learner.loss(inputs))
        device = self.learner.clip.device
        sums = self.world.mean(torch.tensor([sum(found), float(len(found))], dtype=torch.float64, device=device))
        return float(sums[0] / sums[1])

    def _explain_skipped(self, step: int, num_skipped: int, loss: float) -> None:
        config = self.phase.config
        ids = ", ".join(self.loader.product_ids(step - 1, 5))
        logger.warning("step %d is left out: loss or gradient is not finite (loss %g; products %s, …)", step, loss, ids)
        if num_skipped > config.max_skipped_steps:
            raise UserError(
                f"the loss or its gradient was not finite in {num_skipped} steps, the last of them step {step} "
                f"(loss {loss:g}; products {ids}, …): {_remedy(config)}"
            )


def _freeze(model: nn.Module, config: FinetuneConfig, seed: int) -> None:
    """Let only the parameters that `config` trains have gradients; with LoRA, replace matrices by low-rank updates."""
    names = trainable_names(model, config)
    if config.lora_rank is not None:
        heads = heads_of(names)
        names = heads | add_low_rank_updates(model, names - heads, config.lora_rank, derive(seed, "low rank"))
    freeze_others(model, names)


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

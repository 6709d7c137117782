"""The training loop: runs from the last checkpoint to the end and saves candidates.

In each step, the loader (`loader.py`) provides the inputs, the learner (`learner.py`) updates the weights with a loss
of `objectives.py`, and a checkpoint and a candidate are saved if they are due. All randomness is a function of the
seed and the step, so a resumed run sees the same data as an uninterrupted one, and on a CPU gives the same bits.
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
from fclip.training.checkpoint import Progress, ValidatedCandidate
from fclip.training.compute import pad_before_convolutions, should_compile
from fclip.training.config import FinetuneConfig
from fclip.training.learner import Learner
from fclip.training.loader import Loader, TrainingData
from fclip.training.low_rank import add_low_rank_updates, merged_state
from fclip.training.processes import World
from fclip.training.sampling import derive_seed
from fclip.training.schedule import Phase, candidate_steps, learning_rate, phases
from fclip.training.sentinel import check_first_pass
from fclip.training.stop import Interrupted, Stop
from fclip.training.trainable import freeze_all_except, head_names, trainable_names
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
        checkpoints: folder of checkpoints to resume from and to save to.
        log: receives the steps and the candidates.

    Raises:
        UserError: memory or disk space is insufficient, or too many updates were not finite.
        Interrupted: `stop` returned true. The step was finished and saved.
    """
    steps_per_epoch = data.training.images.shape[1] // config.batch_size
    planned = phases(config, steps_per_epoch)
    num_steps = planned[-1].end
    candidates = (0, *candidate_steps(num_steps, config.num_candidates))
    saved = checkpoint.load(checkpoints)
    done = Progress(0, 0, [], []) if saved is None else saved.progress
    if saved is not None:
        logger.info("Resuming from step %d of %d", done.step, num_steps)
    log.begin(num_steps, steps_per_epoch, config.batch_size, done.step)
    base = _frozen_copy(clip.model) if config.regularization.weights or config.regularization.similarities else None
    if clip.device.type == "cpu":
        pad_before_convolutions(clip.model)
    for phase in planned:
        due = {done.step} & set(candidates) - {candidate.step for candidate in done.validated}
        if done.step > phase.end or (done.step == phase.end < num_steps and not due):
            continue
        if saved is not None and done.step == phase.begin:
            saved.restore_model(clip.model)
        _freeze(clip.model, phase.config, seed)
        with _report_out_of_memory(config):
            compiled = should_compile(phase.config.compile, clip.device, phase.end - phase.begin)
            learner = Learner(clip, phase.config, world, base, compiled=compiled)
            if saved is not None and done.step > phase.begin:
                saved.restore(learner)
            logger.info("Training %s; precision: %s", phase.config.trainable, learner.encoder.formats)
            with Loader(clip, learner.encoder, phase.config, data, world, seed=seed, stop=stop) as loader:
                run = _Run(learner, loader, phase, candidates, num_steps, seed, world, checkpoints, out_dir, stop, log)
                done, saved = run.train(done), None
    if world.is_leader:
        output.write_result(out_dir, done.history, done.validated, steps_per_epoch=steps_per_epoch)
    log.end(done.validated)


@dataclass(frozen=True)
class _Run:
    """The steps of one phase."""

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

    def train(self, done: Progress) -> Progress:
        """Run the remaining steps of the phase and return the progress after them."""
        config, phase = self.phase.config, self.phase
        step, num_skipped = done.step, done.num_skipped
        history, validated = list(done.history), list(done.validated)
        self._save_candidates(step, validated)
        for inputs, waited in self.loader.training(step, phase.end):
            rate = learning_rate(
                step - phase.begin,
                num_steps=phase.end - phase.begin,
                peak=config.learning_rate,
                warmup_fraction=config.warmup_fraction,
            )
            update = self.learner.update(
                inputs,
                rate=rate,
                num_updates=step - phase.begin - num_skipped,
                seed=derive_seed(self.seed, "step", step),
            )
            step += 1
            if not update.applied:
                num_skipped += 1
                self._report_skipped_step(step, num_skipped, update.loss)
            epoch = output.epochs_done(step, self.loader.steps_per_epoch)
            row = [step, epoch, rate, update.loss, update.gradient_norm, self.learner.logit_scale, not update.applied]
            history.append([float(value) for value in row])
            self.log.step(step, history[-1], waited)
            stopping = self.world.any(self.stop(step), self.learner.clip.device)
            due = stopping or step in self.candidates or step % config.checkpoint_every == 0 or step == phase.end
            if due and self.world.is_leader:
                checkpoint.save(self.checkpoints, self.learner, Progress(step, num_skipped, history, validated))
            if stopping:
                raise Interrupted(
                    f"interrupted after step {step} of {self.num_steps}; run the command again to resume from there"
                )
            self._save_candidates(step, validated)
        return Progress(step, num_skipped, history, validated)

    def _save_candidates(self, step: int, validated: list[ValidatedCandidate]) -> None:
        """If candidates are due after `step` steps, save and validate them and append them to `validated`.

        They are the current weights and, with an EMA, their moving average.
        """
        if step not in self.candidates or step in {candidate.step for candidate in validated}:
            return
        validated.append(self._save_candidate("checkpoint" if step else "base", step))
        if step and self.learner.ema is not None:
            with self.learner.ema.in_place():
                validated.append(self._save_candidate("ema", step))
        if step < self.num_steps:  # else nothing is left to stop
            loader = self.loader
            check_first_pass(
                validated,
                self.phase.config,
                steps_per_epoch=loader.steps_per_epoch,
                num_rows=loader.num_validation_rows,
                remedy=_remedy(self.phase),
            )

    def _save_candidate(self, kind: str, step: int) -> ValidatedCandidate:
        if self.world.is_leader:
            clip = self.learner.clip
            output.save_candidate(merged_state(clip.model), kind, step, base_model=clip.path, out_dir=self.out_dir)
        loss = self._validation_loss(step)
        if not math.isfinite(loss):
            raise UserError(f"the validation loss is {loss} at step {step}; {_remedy(self.phase)}")
        self.log.candidate()
        return ValidatedCandidate(kind, step, loss)

    def _validation_loss(self, step: int) -> float:
        """Return the mean loss over full batches in a fixed order."""
        losses = []
        for inputs in self.loader.validation():
            if self.stop(step) and self.world.size == 1:
                raise Interrupted(f"interrupted during the validation of step {step}; run the command again to resume")
            losses.append(self.learner.loss(inputs))
        device = self.learner.clip.device
        sums = self.world.mean(torch.tensor([sum(losses), float(len(losses))], dtype=torch.float64, device=device))
        return float(sums[0] / sums[1])

    def _report_skipped_step(self, step: int, num_skipped: int, loss: float) -> None:
        config = self.phase.config
        ids = ", ".join(self.loader.product_ids(step - 1, 5))
        logger.warning(
            "Skipped the update of step %d: loss or gradient is not finite (loss %g; products %s, …)", step, loss, ids
        )
        if num_skipped > config.max_skipped_steps:
            raise UserError(
                f"the loss or its gradient was not finite in {num_skipped} steps, last in step {step} "
                f"(loss {loss:g}; products {ids}, …); {_remedy(self.phase)}"
            )


def _freeze(model: nn.Module, config: FinetuneConfig, seed: int) -> None:
    """Freeze all parameters that `config` does not train. With LoRA, add low-rank updates and freeze their matrices."""
    names = trainable_names(model, config)
    if config.lora_rank is not None:
        heads = head_names(names)
        names = heads | add_low_rank_updates(model, names - heads, config.lora_rank, derive_seed(seed, "low rank"))
    freeze_all_except(model, names)


def _frozen_copy(model: nn.Module) -> nn.Module:
    return deepcopy(model).requires_grad_(False).eval()


def _remedy(phase: Phase) -> str:
    return (
        f"reduce {phase.rate_key} (now {phase.config.learning_rate:g}) in params.yaml, or increase "
        "finetune.warmup_fraction"
    )


@contextmanager
def _report_out_of_memory(config: FinetuneConfig) -> Iterator[None]:
    """Context that turns failed allocations into a UserError that names the parameters to change."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        failed = isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error)
        if not failed:
            raise
        rows = config.objective.micro_batch_size or config.batch_size
        raise UserError(
            f"out of memory with {rows} rows at once; reduce finetune.objective.micro_batch_size (this does not change "
            "the loss), set finetune.gradient_checkpointing, or set finetune.precision to bf16"
        ) from error

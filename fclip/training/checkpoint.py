"""Checkpoints that an interrupted run resumes from. They are written atomically and loaded without unpickling code.

The folder keeps the two newest checkpoints. A file name contains the step and the digest of the content, so a damaged
checkpoint is detected and skipped.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fclip.errors import UserError
from fclip.files import atomic_path, sha256_file
from fclip.training.learner import Learner
from fclip.training.trainable import head_names

logger = logging.getLogger(__name__)
Row = list[float]
NUM_KEPT = 2
_NAME = re.compile(r"step-(\d{8})-([0-9a-f]{64})\.pt")


@dataclass(frozen=True)
class ValidatedCandidate:
    """A candidate that has been saved and validated.

    Attributes:
        kind: "base", "checkpoint" or "ema" (`fclip.models.candidates`).
        step: number of updates before it.
        loss: in-domain validation loss.
    """

    kind: str
    step: int
    loss: float


@dataclass(frozen=True)
class Progress:
    """The progress of a run.

    Attributes:
        step: number of steps done. Data order, augmentation and dropout are functions of the step and the seed.
        num_skipped: number of these steps whose update was skipped.
        history: one row per step (`fclip.training.output.HISTORY_COLUMNS`).
        validated: the candidates so far, in order.
    """

    step: int
    num_skipped: int
    history: list[Row]
    validated: list[ValidatedCandidate]


@dataclass(frozen=True)
class Checkpoint:
    """The saved state of a run: progress, trained parameters, their moving averages and the optimiser's state."""

    progress: Progress
    content: dict[str, Any]

    def restore_model(self, model: nn.Module) -> None:
        """Restore the trained parameters of `model`. Its other parameters must be those of the base model."""
        _copy(dict(model.named_parameters()), self.content["tuned"])

    def restore(self, learner: Learner) -> None:
        """Restore parameters, moving averages and the optimiser's state."""
        self.restore_model(learner.clip.model)
        _copy(learner.parameters, self.content["tuned"])
        learner.optimiser.load_state_dict(self.content["optimiser"])
        if learner.ema is not None:
            _copy(learner.ema.averages, self.content["averages"])


def save(folder: Path, learner: Learner, progress: Progress) -> None:
    """Write a checkpoint and delete all but the `NUM_KEPT` newest ones.

    Raises:
        UserError: the checkpoint cannot be written. Existing checkpoints are kept.
    """
    # With `heads_first`, an earlier phase has trained all heads, although this phase may not train all of them.
    parameters = dict(learner.clip.model.named_parameters())
    heads = {name: parameters[name] for name in head_names(frozenset(parameters))}
    content = {
        "tuned": {name: parameter.detach() for name, parameter in {**heads, **learner.parameters}.items()},
        "averages": {} if learner.ema is None else learner.ema.averages,
        "optimiser": learner.optimiser.state_dict(),
        "step": progress.step,
        "num_skipped": progress.num_skipped,
        "history": progress.history,
        "validated": [(entry.kind, entry.step, entry.loss) for entry in progress.validated],
    }
    folder.mkdir(parents=True, exist_ok=True)
    whole = folder / "whole.pt"
    try:
        with atomic_path(whole) as temporary:
            torch.save(content, temporary)
        whole.replace(folder / f"step-{progress.step:08d}-{sha256_file(whole)}.pt")
    except (OSError, RuntimeError) as error:  # torch raises RuntimeError if the disk is full
        raise UserError(
            f"{folder}: the checkpoint of step {progress.step} cannot be written ({error}); free disk space and run "
            "the command again to resume from the previous checkpoint"
        ) from error
    for _, old in _list(folder)[NUM_KEPT:]:
        old.unlink()


def load(folder: Path) -> Checkpoint | None:
    """Return the newest undamaged checkpoint, or None if there is none. Damaged checkpoints are deleted."""
    for step, path in _list(folder):
        if sha256_file(path) != path.stem.rpartition("-")[2]:
            logger.warning("The checkpoint of step %d (%s) is damaged; using the previous one", step, path)
            path.unlink()
            continue
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        validated = [ValidatedCandidate(*values) for values in content["validated"]]
        progress = Progress(content["step"], content["num_skipped"], content["history"], validated)
        return Checkpoint(progress, content)
    return None


def _list(folder: Path) -> list[tuple[int, Path]]:
    """Return the checkpoints with their steps, newest first."""
    named = [(match, path) for path in folder.glob("*.pt") if (match := _NAME.fullmatch(path.name))]
    return sorted(((int(match[1]), path) for match, path in named), reverse=True)


@torch.no_grad()
def _copy(targets: Mapping[str, torch.Tensor], values: Mapping[str, torch.Tensor]) -> None:
    for name, value in values.items():
        if name in targets:
            targets[name].copy_(value)

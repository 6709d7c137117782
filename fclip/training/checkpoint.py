"""Checkpoints, from which an interrupted run resumes: whole or absent, and with nothing that has to be unpickled.

The folder holds the two newest, each named by its step and the digest of its bytes, so that a damaged one is
recognised and passed over.
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

logger = logging.getLogger(__name__)
Row = list[float]
KEPT = 2
_NAME = re.compile(r"step-(\d{8})-([0-9a-f]{64})\.pt")


@dataclass(frozen=True)
class Validated:
    """A candidate that was saved and validated.

    Attributes:
        kind: "base", "checkpoint" or "ema" (`fclip.models.candidates`).
        step: updates done.
        loss: in-domain validation loss.
    """

    kind: str
    step: int
    loss: float


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        step: updates done. The order of the data, the variation of images and dropout follow from it and the seed.
        num_skipped: of these, left out.
        history: a row a step (`fclip.training.output.HISTORY`).
        validated: the candidates so far, in order.
    """

    step: int
    num_skipped: int
    history: list[Row]
    validated: list[Validated]


@dataclass(frozen=True)
class Checkpoint:
    """A run as it was saved: progress; trainable parameters, their averages and the optimiser's state."""

    progress: Progress
    content: dict[str, Any]

    def restore_model(self, model: nn.Module) -> None:
        """Bring the model's parameters to where they were; the others are those of the base model."""
        _copy(dict(model.named_parameters()), self.content["tuned"])

    def restore(self, learner: Learner) -> None:
        """Bring parameters, averages and optimiser to where they were."""
        _copy(learner.parameters, self.content["tuned"])
        learner.optimiser.load_state_dict(self.content["optimiser"])
        if learner.ema is not None:
            _copy(learner.ema.averages, self.content["averages"])


def save(folder: Path, learner: Learner, progress: Progress) -> None:
    """Write a checkpoint, and delete what is older than the one before.

    Raises:
        UserError: it could not be written; those that were there still are.
    """
    content = {
        "tuned": {name: parameter.detach() for name, parameter in learner.parameters.items()},
        "averages": {} if learner.ema is None else learner.ema.averages,
        "optimiser": learner.optimiser.state_dict(),
        "step": progress.step,
        "num_skipped": progress.num_skipped,
        "history": progress.history,
        "validated": [(one.kind, one.step, one.loss) for one in progress.validated],
    }
    folder.mkdir(parents=True, exist_ok=True)
    whole = folder / "whole.pt"
    try:
        with atomic_path(whole) as temporary:
            torch.save(content, temporary)
        whole.replace(folder / f"step-{progress.step:08d}-{sha256_file(whole)}.pt")
    except (OSError, RuntimeError) as error:  # torch's writer raises the latter where a disk is full
        raise UserError(
            f"step {progress.step} could not be saved in {folder} ({error}): make room there and run it again, to go "
            "on from the checkpoint before"
        ) from error
    for _, old in _found(folder)[KEPT:]:
        old.unlink()


def load(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that is as it was written; None where there is none."""
    for step, path in _found(folder):
        if sha256_file(path) != path.stem.rpartition("-")[2]:
            logger.warning("the checkpoint of step %d (%s) is damaged: the one before is taken", step, path)
            path.unlink()
            continue
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        validated = [Validated(*values) for values in content["validated"]]
        progress = Progress(content["step"], content["num_skipped"], content["history"], validated)
        return Checkpoint(progress, content)
    return None


def _found(folder: Path) -> list[tuple[int, Path]]:
    """Checkpoints by step, the newest first."""
    named = [(match, path) for path in folder.glob("*.pt") if (match := _NAME.fullmatch(path.name))]
    return sorted(((int(match[1]), path) for match, path in named), reverse=True)


@torch.no_grad()
def _copy(to: Mapping[str, torch.Tensor], values: Mapping[str, torch.Tensor]) -> None:
    for name, value in values.items():
        if name in to:
            to[name].copy_(value)

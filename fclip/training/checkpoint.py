"""What an interrupted run goes on from: whole or absent, and without anything that would have to be unpickled."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fclip.files import atomic_path

Row = list[float]


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        step: updates done. The order of the data, the variation of images and dropout follow from it and the seed.
        history: a row a step (`fclip.training.output.HISTORY`).
        validation: step and validation loss of each candidate so far.
    """

    step: int
    history: list[Row]
    validation: list[Row]


def save(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, progress: Progress) -> None:
    """Write tuned parameters, buffers, the optimiser's state and the progress; the frozen rest is in the start."""
    content = {
        "tuned": _tuned(model),
        "optimiser": optimiser.state_dict(),
        "step": progress.step,
        "history": progress.history,
        "validation": progress.validation,
    }
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def load(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> Progress:
    """Bring `model` and `optimiser` to where they were saved."""
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    tuned = _tuned(model)
    assert tuned.keys() == content["tuned"].keys()
    with torch.no_grad():
        for name, tensor in tuned.items():
            tensor.copy_(content["tuned"][name])
    optimiser.load_state_dict(content["optimiser"])
    return Progress(content["step"], content["history"], content["validation"])


def _tuned(model: nn.Module) -> dict[str, torch.Tensor]:
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    return {name: tensor for name, tensor in model.state_dict().items() if name not in frozen}

"""Where a model runs, and in which precision."""

from contextlib import AbstractContextManager, nullcontext

import torch

from fclip.errors import UserError


def resolve_device(name: str) -> torch.device:
    """`auto` is cuda where there is one, else the CPU; other names are torch's.

    Raises:
        UserError: the name is no device, or the device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"device must be auto, cpu, cuda or cuda:N, not {name!r}") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device is {name}, but torch sees {torch.cuda.device_count()} of them: use auto or cpu")
    return device


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 where it is exact enough and twice as fast (cuda), float32 elsewhere."""
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()

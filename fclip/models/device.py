"""Device and precision of a model."""

from contextlib import AbstractContextManager, nullcontext

import torch

from fclip.errors import UserError


def resolve_device(name: str) -> torch.device:
    """Return the device `name`; `auto` is cuda if available, else the CPU.

    Raises:
        UserError: the name is not a device of torch, or the device does not exist.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"device must be auto, cpu, cuda or cuda:N, not {name!r}") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device is {name}, but torch finds {torch.cuda.device_count()} GPUs; use auto or cpu")
    return device


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """Context with bfloat16 on cuda, where it is exact enough and twice as fast, and float32 on other devices."""
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()

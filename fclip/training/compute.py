"""How a run computes: number formats, compiled kernels, and memory that is kept between steps."""

import ctypes
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import nn

from fclip.training.torch_private import cpu_multiplies_bfloat16
from fclip.training.trainable import BATCH_NORMALISATION

Precision = Literal["auto", "bf16", "fp32"]

MIN_STEPS_TO_COMPILE = 2000
"""On an H200 a ViT-B/32 took 48 s to compile, and then 0.12 s for a step of 1,024 instead of 0.16: 1,200 steps."""
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # parameters of glibc's mallopt


def autocast_dtype(precision: Precision, tower: nn.Module, device: torch.device) -> torch.dtype | None:
    """bfloat16 if `tower` computes in it under autocast; None if it computes in float32.

    `auto` is bfloat16 on a GPU that has it; on a CPU that multiplies it natively (AVX512-BF16 or AMX), for a tower of
    matrix products alone: a transformer gains up to twofold there, while depthwise convolutions and batch
    normalisation lose (`python -m benchmarks.train` measures both).
    """
    if precision != "auto":
        return torch.bfloat16 if precision == "bf16" else None
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else None
    native = device.type == "cpu" and cpu_multiplies_bfloat16()
    convolves = any(isinstance(module, BATCH_NORMALISATION) for module in tower.modules())
    return torch.bfloat16 if native and not convolves else None


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """Within, matrix products are computed in `dtype`; in float32 if it is None."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)


def should_compile(wanted: bool | Literal["auto"], device: torch.device, num_steps: int) -> bool:
    """Whether torch.compile makes the towers' kernels in a run of `num_steps`; `auto`: on a GPU, in a long run.

    On a CPU it does not pay: a small ViT gained 8 % in float32 and 1 % in bfloat16, after 40 s.
    """
    return device.type == "cuda" and num_steps >= MIN_STEPS_TO_COMPILE if wanted == "auto" else wanted


def keep_freed_memory() -> None:
    """Tell glibc to hold on to freed memory for the rest of the process; do nothing with another C library.

    A step allocates and frees the same hundreds of megabytes. By default each goes back to the kernel and is
    faulted in again, page by page, which takes a fifth of a step of a convolutional tower on two cores.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)

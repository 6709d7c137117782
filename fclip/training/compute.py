"""Numerical precision, torch.compile, fast convolutions and memory reuse of a training run."""

import ctypes
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from timm.layers import Conv2dSame
from torch import nn

from fclip.training.torch_private import cpu_multiplies_bfloat16
from fclip.training.trainable import BATCH_NORMALISATION

Precision = Literal["auto", "bf16", "fp32"]

MIN_STEPS_TO_COMPILE = 2000
"""Measured on an H200 with ViT-B/32: compiling takes 48 s and reduces a step of 1,024 pairs from 0.16 s to 0.12 s, so
it pays off after 1,200 steps."""
MIN_KERNEL = 5
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # parameters of glibc's mallopt


def autocast_dtype(precision: Precision, tower: nn.Module, device: torch.device) -> torch.dtype | None:
    """Return bfloat16 if `tower` is to run in it under autocast, or None for float32.

    `auto` is bfloat16 on a GPU that supports it. On a CPU it is bfloat16 if the CPU multiplies it natively
    (AVX512-BF16 or AMX) and the tower has no batch normalisation: a transformer is up to twice as fast, but depthwise
    convolutions and batch normalisation are slower (`python -m benchmarks.train` measures both).
    """
    if precision != "auto":
        return torch.bfloat16 if precision == "bf16" else None
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else None
    native = device.type == "cpu" and cpu_multiplies_bfloat16()
    convolves = any(isinstance(module, BATCH_NORMALISATION) for module in tower.modules())
    return torch.bfloat16 if native and not convolves else None


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """Context in which matrix products are computed in `dtype`, or in float32 if it is None."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)


def should_compile(wanted: bool | Literal["auto"], device: torch.device, num_steps: int) -> bool:
    """Whether a run of `num_steps` compiles the towers with torch.compile; `auto` compiles long runs on a GPU.

    It does not pay off on a CPU: a small ViT was 8 % faster in float32 and 1 % in bfloat16, after compiling for 40 s.
    """
    return device.type == "cuda" and num_steps >= MIN_STEPS_TO_COMPILE if wanted == "auto" else wanted


def pad_before_convolutions(model: nn.Module) -> None:
    """Make depthwise convolutions with a kernel of `MIN_KERNEL` or more pad their input in a step of its own, in place.

    The result is the same. On a CPU, the gradient of a convolution whose padded border is large beside the image (3 × 3
    pixels at the end of an EfficientNet) otherwise takes a slow kernel: a step takes 14 % less time with
    EfficientNet-Lite0 at 96 pixels, on two cores without AVX-512.
    """
    for module in model.modules():
        if type(module) is not nn.Conv2d or module.stride != (1, 1) or module.dilation != (1, 1):
            continue
        half = tuple(side // 2 for side in module.kernel_size)
        is_same = module.padding == half and module.padding_mode == "zeros" and all(s % 2 for s in module.kernel_size)
        if is_same and module.groups == module.in_channels > 1 and min(module.kernel_size) >= MIN_KERNEL:
            module.__class__ = Conv2dSame  # pads as much, computed from the size of its input
            module.padding = (0, 0)


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the rest of the process. Has no effect with another C library.

    Each step allocates and frees the same hundreds of megabytes. By default glibc returns them to the kernel, and page
    faults then take a fifth of the time of a step (convolutional tower, two cores).
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)

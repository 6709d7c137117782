"""In which number format each tower computes."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import nn

Precision = Literal["auto", "bf16", "fp32"]


def autocast_dtype(precision: Precision, tower: nn.Module, device: torch.device) -> torch.dtype | None:
    """bfloat16 where `tower` is to compute in it under autocast, else None: float32.

    `auto` is bfloat16 on a GPU that has it; on a CPU that multiplies it natively (AVX512-BF16 or AMX), for a tower of
    matrix products alone: a transformer gains up to twofold there, while depthwise convolutions and batch
    normalisation lose (`python -m benchmarks.train` measures both).
    """
    if precision != "auto":
        return torch.bfloat16 if precision == "bf16" else None
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else None
    native = device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    convolves = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in tower.modules())
    return torch.bfloat16 if native and not convolves else None


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """Within, matrix products in `dtype`; in float32 where it is None."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)

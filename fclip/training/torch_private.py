"""Wrappers of the private torch functions that training uses. No other module of fclip uses private functions.

torch may rename or remove them in any version, so each docstring describes what a replacement has to do.
They work with torch 2.14.1; the tests of `fclip.training` call each of them.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter


def lerp_(tensors: Sequence[torch.Tensor], ends: Sequence[torch.Tensor], share: float) -> None:
    """Interpolate each of `tensors` in place towards the corresponding tensor of `ends`, with weight `share`.

    Equals `tensor.lerp_(end, share)` in a loop, but launches a few GPU kernels instead of one per tensor.
    """
    torch._foreach_lerp_(list(tensors), list(ends), share)


def cpu_multiplies_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16 matrix products (AVX512-BF16 or AMX)."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def stop_workers(loader: DataLoader[Any]) -> None:
    """Stop the persistent worker processes of `loader` and wait for them. Does nothing if none was started.

    torch itself stops them only when the iterator is garbage-collected.
    """
    iterator, loader._iterator = loader._iterator, None
    if isinstance(iterator, _MultiProcessingDataLoaderIter):
        iterator._shutdown_workers()

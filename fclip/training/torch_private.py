"""The private torch functions that training uses, each behind a public one. No other module of fclip uses any.

torch may rename or remove them in any version, so each docstring says what a replacement has to do.
Tried with torch 2.14.1; the tests of `fclip.training` run each of them.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter


def lerp_(tensors: Sequence[torch.Tensor], ends: Sequence[torch.Tensor], share: float) -> None:
    """Move each of `tensors` in place by `share` of its way to the tensor of `ends` at the same position.

    `tensor.lerp_(end, share)` in a loop does the same; on a GPU this takes a few kernels instead of one a tensor.
    """
    torch._foreach_lerp_(list(tensors), list(ends), share)


def cpu_multiplies_bfloat16() -> bool:
    """Whether this CPU has instructions for products of bfloat16 matrices (AVX512-BF16 or AMX)."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def stop_workers(loader: DataLoader[Any]) -> None:
    """End the persistent worker processes of `loader` and wait for them; do nothing where none has started.

    torch itself ends them only when the iterator is garbage-collected.
    """
    iterator, loader._iterator = loader._iterator, None
    if isinstance(iterator, _MultiProcessingDataLoaderIter):
        iterator._shutdown_workers()

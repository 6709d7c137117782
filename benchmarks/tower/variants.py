"""Ways to run one image tower: exactly, or with fewer bits."""

import copy
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from timm.layers import Conv2dSame, get_same_padding
from torch import nn
from torch.ao.quantization import QConfigMapping, get_default_qconfig
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

from fclip.models.folding import fold_batch_norms
from fclip.training.compute import pad_before_convolutions

Tower = Callable[[torch.Tensor], torch.Tensor]


def fused(tower: nn.Module) -> nn.Module:
    """A copy in which each batch norm, whose statistics are fixed, is part of the convolution before it."""
    copied = copy.deepcopy(tower).eval()
    fold_batch_norms(copied)
    return copied


def int8(tower: nn.Module, calibration: torch.Tensor) -> nn.Module:
    """A copy with 8-bit weights and activations. Their ranges come from `calibration` [n, 3, side, side]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and warns at length
        torch.backends.quantized.engine = "x86"
        mapping = QConfigMapping().set_global(get_default_qconfig("x86"))
        prepared = prepare_fx(_traceable(fused(tower), calibration[:1]), mapping, (calibration[:1],))
        with torch.inference_mode():
            for batch in calibration.split(32):
                prepared(batch)
        quantized: nn.Module = convert_fx(prepared)
    return quantized


def _traceable(tower: nn.Module, pixels: torch.Tensor) -> nn.Module:
    """Return `tower` for images of this size only: its convolutions have a fixed padding and can be traced."""
    sides: dict[nn.Module, int] = {}
    padded = [module for module in tower.modules() if isinstance(module, Conv2dSame)]
    hooks = [
        module.register_forward_pre_hook(lambda module, inputs: sides.update({module: inputs[0].shape[-1]}))
        for module in padded
    ]
    with torch.inference_mode():
        tower(pixels)
    for hook in hooks:
        hook.remove()
    for parent in list(tower.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Conv2dSame):
                total = get_same_padding(sides[child], child.kernel_size[0], child.stride[0], child.dilation[0])
                before, after = total // 2, total - total // 2
                child.__class__ = nn.Conv2d  # type: ignore[assignment]
                setattr(parent, name, nn.Sequential(nn.ZeroPad2d((before, after, before, after)), child))
    return tower


def forward_variants(tower: nn.Module, calibration: torch.Tensor) -> Mapping[str, Callable[[], Tower]]:
    """Return the functions that make each variant for inference, by name. The first is the tower as it is loaded."""

    def channels_last(made: nn.Module) -> Tower:
        moved = copy.deepcopy(made).to(memory_format=torch.channels_last)
        return lambda pixels: moved(pixels.contiguous(memory_format=torch.channels_last))

    return {
        "as loaded": lambda: tower,
        "channels last": lambda: channels_last(tower),
        "batch norms fused": lambda: fused(tower),
        "batch norms fused, channels last": lambda: channels_last(fused(tower)),
        "torch.compile": lambda: torch.compile(copy.deepcopy(tower)),
        "batch norms fused, torch.compile": lambda: torch.compile(fused(tower)),
        "bfloat16": lambda: partial(_in_bfloat16, tower),
        "int8": lambda: int8(tower, calibration),
    }


def backward_variants(tower: nn.Module) -> Mapping[str, Callable[[], Tower]]:
    """Return the functions that make each variant for training with fixed batch statistics, by name."""

    def trained(memory_format: torch.memory_format = torch.contiguous_format) -> Any:
        return copy.deepcopy(tower).to(memory_format=memory_format).requires_grad_(True)

    def channels_last(*, padded: bool = False, frozen_stages: int = 0) -> Tower:
        made = trained(torch.channels_last)
        if padded:
            pad_before_convolutions(made)
        if frozen_stages:
            frozen = (made.trunk.conv_stem, made.trunk.bn1, *made.trunk.blocks[:frozen_stages])
            nn.ModuleList(frozen).requires_grad_(False)
        return lambda pixels: made(pixels.contiguous(memory_format=torch.channels_last))

    return {
        "as loaded": trained,
        "channels last": channels_last,
        "channels last, padded before convolutions": lambda: channels_last(padded=True),
        "the same, two of seven stages frozen": lambda: channels_last(padded=True, frozen_stages=2),
        "torch.compile": lambda: torch.compile(trained()),
        "bfloat16": lambda: partial(_in_bfloat16, trained()),
    }


def _in_bfloat16(tower: Tower, pixels: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return tower(pixels)

"""Folding of batch norms into the preceding convolutions: faster inference with the same features."""

from collections.abc import Callable
from itertools import pairwise

import torch
from timm.layers import BatchNormAct2d
from timm.models import EfficientNet
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def fold_batch_norms(model: nn.Module) -> Callable[[], None]:
    """Fold the batch norms of every EfficientNet in `model`, in place. Return a function that restores the model.

    In timm's EfficientNets each norm is the module after its convolution. This does not hold for all architectures, so
    other networks are not changed. On a CPU it is 1.5 times as fast (`python -m benchmarks.tower`). A folded model must
    not be trained, and its weights cannot be replaced.
    """
    folded: list[tuple[nn.Module, str, nn.Conv2d, BatchNormAct2d, torch.Tensor, torch.Tensor | None]] = []
    for network in [module for module in model.modules() if isinstance(module, EfficientNet)]:
        for parent in list(network.modules()):
            for (_, convolution), (name, norm) in pairwise(list(parent.named_children())):
                if isinstance(convolution, nn.Conv2d) and isinstance(norm, BatchNormAct2d):
                    folded.append((parent, name, convolution, norm, convolution.weight, convolution.bias))
                    _fold(convolution, norm)
                    setattr(parent, name, norm.act)

    def restore() -> None:
        for parent, name, convolution, norm, weight, bias in folded:
            convolution.weight, convolution.bias = weight, bias
            setattr(parent, name, norm)

    return restore


def _fold(convolution: nn.Conv2d, norm: BatchNormAct2d) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.no_grad():
        convolution.weight, convolution.bias = fuse_conv_bn_weights(
            convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )

"""Several processes that train one model, a GPU each: who they are, and what they tell each other.

Each has a copy of the model and takes some rows of every batch. They share features, so that the loss is of the whole
batch, and the mean of their gradients, so that the copies stay the same. The gradients go in one message a step, as
the objective's parameters and the two passes of GradCache would not fit torch's DistributedDataParallel.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from fclip.training.objectives import Contrast


@dataclass(frozen=True)
class World:
    """The processes of a run: `size` of them, this one `rank`."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def rows(self, num_rows: int) -> slice:
        """This process's rows of a batch, which is a multiple of `size`."""
        own = num_rows // self.size
        return slice(self.rank * own, (self.rank + 1) * own)

    def gather(self, images: torch.Tensor, texts: torch.Tensor, positive: torch.Tensor) -> Contrast:
        """This process's features [n, d] beside everyone's [N, d]; gradients find their way back to whose they are."""
        if self.size == 1:
            return Contrast(images, texts, images, texts, positive)
        return Contrast(images, texts, _Gather.apply(images, self), _Gather.apply(texts, self), positive)

    def mean_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Replace each gradient by its mean over the processes; a parameter that has none counts as zeros."""
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [each.grad for each in parameters if each.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.size
        for gradient, mean in zip(gradients, flat.split([each.numel() for each in gradients]), strict=True):
            gradient.copy_(
                mean.view(gradient.shape)
            )  # into its own layout of memory, which the fused optimiser takes to be the parameter's

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """The mean over the processes."""
        if self.size > 1:
            value = value.detach().clone()
            dist.all_reduce(value)
            value /= self.size
        return value

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether it is so in one of the processes."""
        if self.size == 1:
            return flag
        told = torch.tensor(float(flag), device=device)
        dist.all_reduce(told)
        return bool(told > 0)

    @contextmanager
    def first(self) -> Iterator[None]:
        """Within, the leading process is alone; the others come when it has left."""
        if self.size > 1 and not self.leads:
            dist.barrier()
        yield
        if self.size > 1 and self.leads:
            dist.barrier()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: torch.Tensor, world: World) -> torch.Tensor:
        ctx.world = world
        parts = [torch.empty_like(features) for _ in range(world.size)]
        dist.all_gather(parts, features.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)  # what each process's loss says of everyone's features
        return gradient[ctx.world.rows(len(gradient))], None


@contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """The world that torchrun's environment describes, joined for as long as this lasts; alone without torchrun."""
    if "RANK" not in os.environ:
        yield World()
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()

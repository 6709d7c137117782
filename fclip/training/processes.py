"""Communication between the processes that train one model, one per GPU.

Each process has a copy of the model and a part of the rows of every batch. The processes gather features, so that the
loss covers the whole batch, and average gradients, so that the copies stay equal. Gradients are reduced in one
operation per step: torch's DistributedDataParallel supports neither the objective's parameters nor GradCache's passes.
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
    """The process group of a run: `size` processes, of which this one has the number `rank`."""

    rank: int = 0
    size: int = 1

    @property
    def is_leader(self) -> bool:
        """Whether this is the process that writes files and logs."""
        return self.rank == 0

    def rows(self, num_rows: int) -> slice:
        """Return this process's rows of a batch of `num_rows`, a multiple of `size`."""
        local = num_rows // self.size
        return slice(self.rank * local, (self.rank + 1) * local)

    def gather(self, images: torch.Tensor, texts: torch.Tensor, positive: torch.Tensor) -> Contrast:
        """Gather the features [n, d] of all processes to [N, d]. Gradients flow back to the process they came from."""
        if self.size == 1:
            return Contrast(images, texts, images, texts, positive)
        return Contrast(images, texts, _Gather.apply(images, self), _Gather.apply(texts, self), positive)

    def mean_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Replace each gradient by its mean over the processes. A missing gradient counts as zeros."""
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
            # Keep the gradient's memory layout: the fused optimiser assumes that it is the parameter's.
            gradient.copy_(mean.view(gradient.shape))

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """Return the mean of `value` over the processes."""
        if self.size > 1:
            value = value.detach().clone()
            dist.all_reduce(value)
            value /= self.size
        return value

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether `flag` is true in at least one process."""
        if self.size == 1:
            return flag
        count = torch.tensor(float(flag), device=device)
        dist.all_reduce(count)
        return bool(count > 0)

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """Context that the leader enters first. The other processes enter after the leader has left it."""
        if self.size > 1 and not self.is_leader:
            dist.barrier()
        yield
        if self.size > 1 and self.is_leader:
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
        dist.all_reduce(gradient)  # sum of the gradients of all processes' losses
        return gradient[ctx.world.rows(len(gradient))], None


@contextmanager
def join_processes(device: torch.device) -> Iterator[World]:
    """Context with the process group from torchrun's environment variables; a single process without them."""
    if "RANK" not in os.environ:
        yield World()
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()

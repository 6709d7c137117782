"""LoRA (Hu et al. 2022): only a low-rank update of each trained matrix is learned.

It uses torch's parametrizations, which work for linear layers and for the joint input projection of torch's attention
that open_clip's transformers use.
"""

from collections.abc import Collection

import torch
from torch import nn
from torch.nn.utils import parametrize

from fclip.errors import UserError

ORIGINAL = ".original"


class LowRankUpdate(nn.Module):
    """W + B A, where A [rank, columns] is random and B [rows, rank] is zero initially, so that W is unchanged."""

    def __init__(self, weight: torch.Tensor, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        rows, columns = weight.shape
        down = torch.randn(rank, columns, generator=generator) / columns**0.5
        self.down = nn.Parameter(down.to(weight))
        self.up = nn.Parameter(weight.new_zeros(rows, rank))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + self.up @ self.down


def add_low_rank_updates(model: nn.Module, names: Collection[str], rank: int, seed: int) -> frozenset[str]:
    """Add a low-rank update to each matrix in `names`; return the names of the parameters to train instead of `names`.

    Embeddings are not trained. Other parameters that are no matrices (norms, biases) or whose smaller side is at most
    `rank` are trained directly.

    Raises:
        UserError: no matrix gets an update.
    """
    generator = torch.Generator().manual_seed(seed)
    owners = dict(model.named_modules())
    tuned = set()
    for name in sorted(names):
        owner_name, _, attribute = name.rpartition(".")
        owner = owners[owner_name]
        weight = getattr(owner, attribute)
        if isinstance(owner, nn.Embedding) or "embedding" in attribute:
            continue
        if weight.ndim != 2 or min(weight.shape) <= rank:
            tuned.add(name)
            continue
        parametrize.register_parametrization(owner, attribute, LowRankUpdate(weight, rank, generator))
        prefix = f"{owner_name}.parametrizations.{attribute}" if owner_name else f"parametrizations.{attribute}"
        tuned |= {f"{prefix}.0.down", f"{prefix}.0.up"}
    if not any(name.endswith(".up") for name in tuned):
        raise UserError(
            f"finetune.lora_rank: no trained matrix is larger than the rank {rank}; reduce it or set it to null"
        )
    return frozenset(tuned)


def merged_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the state dict of the model without LoRA: original names, with low-rank updates added to the matrices."""
    state = {}
    for name, tensor in model.state_dict().items():
        if ".parametrizations." not in f".{name}":
            state[name] = tensor
        elif name.endswith(ORIGINAL):
            owner_name, _, rest = f".{name}".rpartition(".parametrizations.")
            owner_name, attribute = owner_name.removeprefix("."), rest.removesuffix(ORIGINAL)
            with torch.no_grad():
                merged = getattr(model.get_submodule(owner_name), attribute)
            state[f"{owner_name}.{attribute}" if owner_name else attribute] = merged
    return state

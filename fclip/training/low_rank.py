"""LoRA: of a tuned matrix only an update of low rank is learned (Hu et al. 2022), by torch's parametrizations.

These reach the joint projection of torch's attention, which open_clip's transformers use, as well as linear layers.
"""

from collections.abc import Collection

import torch
from torch import nn
from torch.nn.utils import parametrize

from fclip.errors import UserError

ORIGINAL = ".original"


class LowRankUpdate(nn.Module):
    """W + B A with A [rank, columns] random and B [rows, rank] zero at first, so that nothing changes."""

    def __init__(self, weight: torch.Tensor, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        rows, columns = weight.shape
        spread = torch.randn(rank, columns, generator=generator) / columns**0.5
        self.down = nn.Parameter(spread.to(weight))
        self.up = nn.Parameter(weight.new_zeros(rows, rank))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + self.up @ self.down


def add_low_rank_updates(model: nn.Module, names: Collection[str], rank: int, seed: int) -> frozenset[str]:
    """Give each matrix in `names` an update of `rank`; returns the names of what is to be tuned instead of `names`.

    Embeddings stay as they are; what is no matrix (norms, biases) is tuned itself.

    Raises:
        UserError: there is no matrix among them.
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
        place = f"{owner_name}.parametrizations.{attribute}" if owner_name else f"parametrizations.{attribute}"
        tuned |= {f"{place}.0.down", f"{place}.0.up"}
    if not any(name.endswith(".up") for name in tuned):
        raise UserError("finetune.lora_rank: no tuned matrix is larger than that: lower it, or leave it null")
    return frozenset(tuned)


def merged_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """The model's state under its own names, low-rank updates added to what they update."""
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

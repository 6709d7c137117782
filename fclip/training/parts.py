"""Which parts of a model are tuned, and where the text tower ends and its projection begins."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from fclip.errors import UserError

Trainable = Literal["heads", "image_tower", "all"]

# Where open_clip's models keep the maps into the shared space: ViT, timm, ResNet; CLIP, CustomTextCLIP, transformers.
IMAGE_PROJECTIONS = ("visual.proj", "visual.head.", "visual.attnpool.c_proj.")
TEXT_PROJECTIONS = ("text_projection", "text.text_projection", "text.proj.")
SCALE = "logit_scale"


def trained_names(model: nn.Module, trainable: Trainable) -> frozenset[str]:
    """Names of the parameters that `trainable` tunes.

    Raises:
        UserError: the heads alone are to be tuned, and the model has none (SigLIP's towers meet without a projection).
    """
    names = [name for name, _ in model.named_parameters()]
    heads = {name for name in names if name.startswith((*IMAGE_PROJECTIONS, *TEXT_PROJECTIONS))}
    match trainable:
        case "all":
            return frozenset(names) - {"logit_bias"}  # the softmax cancels it
        case "image_tower":
            return frozenset({name for name in names if name.startswith("visual.")} | heads | {SCALE})
    if not heads:
        raise UserError("finetune.trainable is heads, but this model has no projections: use image_tower or all")
    return frozenset(heads | {SCALE})


def freeze_others(model: nn.Module, names: frozenset[str]) -> None:
    """Let only the parameters in `names` have gradients."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names)


def set_mode(model: nn.Module, trainable: Trainable, *, training: bool) -> None:
    """Put the tuned towers into training mode (or none), so that a frozen tower's dropout stays still.

    Batch normalisation keeps the statistics of the start throughout. Those of one catalog's photographs (white, with
    the product in the middle) make a model that is worse on every other kind, long before its weights are.
    """
    model.eval()
    if not training:
        return
    if trainable == "all":
        model.train()
    elif trainable == "image_tower":
        model.visual.train()  # type: ignore[union-attr]
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """What AdamW tunes: matrices with weight decay; norms, biases and the logit scale without."""
    tuned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in tuned if parameter.ndim >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in tuned if parameter.ndim < 2], "weight_decay": 0.0},
    ]


@dataclass(frozen=True)
class TextSplit:
    """A text tower cut before its projection: `pooled`, then `project`, is `encode_text`."""

    model: Any
    owner: nn.Module
    name: str

    @classmethod
    def of(cls, model: Any) -> "TextSplit":
        """Where open_clip's model is to be cut."""
        owner = getattr(model, "text", model)
        for name in ("text_projection", "proj"):
            if hasattr(owner, name):
                return cls(model, owner, name)
        raise UserError(f"the text tower {type(owner).__name__} has no known projection: set finetune.trainable to all")

    def pooled(self, tokens: torch.Tensor) -> torch.Tensor:
        """Features before the projection: int64 [n, length] -> [n, width]. Not for use from several threads."""
        projection = getattr(self.owner, self.name)
        setattr(self.owner, self.name, nn.Identity() if isinstance(projection, nn.Module) else None)
        try:
            features: torch.Tensor = self.model.encode_text(tokens)
        finally:
            setattr(self.owner, self.name, projection)
        return features

    def project(self, pooled: torch.Tensor) -> torch.Tensor:
        """Pooled features in the shared space: [n, width] -> [n, d]."""
        projection = getattr(self.owner, self.name)
        if projection is None:
            return pooled
        projected: torch.Tensor = projection(pooled) if isinstance(projection, nn.Module) else pooled @ projection
        return projected

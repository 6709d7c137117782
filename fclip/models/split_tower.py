"""Towers split before their projection, so that the part before it is computed once for models that share it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fclip.errors import UserError

# Names of the projections in open_clip's models: ViT, timm, ResNet; CLIP, CustomTextCLIP, transformers.
IMAGE_PROJECTIONS = ("visual.proj", "visual.head.", "visual.attnpool.c_proj.")
TEXT_PROJECTIONS = ("text_projection", "text.text_projection", "text.proj.")
PROJECTIONS = (*IMAGE_PROJECTIONS, *TEXT_PROJECTIONS)
SCALE, BIAS = "logit_scale", "logit_bias"


@dataclass(frozen=True)
class SplitTower:
    """A tower split before its projection: `project(pooled(inputs))` equals `encode(inputs)`.

    Attributes:
        encode: the model's method from tokens or pixels to features.
        owner, name: the module that has the projection, and the name of its attribute.
    """

    encode: Any
    owner: nn.Module
    name: str

    @classmethod
    def of_texts(cls, model: Any) -> "SplitTower":
        """Return the split text tower of an open_clip model (CLIP, CustomTextCLIP, or a tower of transformers)."""
        return _split(model.encode_text, getattr(model, "text", model), ("text_projection", "proj"))

    @classmethod
    def of_images(cls, model: Any) -> "SplitTower":
        """Return the split image tower of an open_clip model (ViT, or timm with a head that ends in the projection)."""
        visual = model.visual
        head = getattr(visual, "head", None)
        return _split(model.encode_image, visual if head is None else head, ("proj",))

    def pooled(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the features before the projection: [n, …] -> [n, width]. Not thread-safe."""
        projection = getattr(self.owner, self.name)
        setattr(self.owner, self.name, nn.Identity() if isinstance(projection, nn.Module) else None)
        try:
            features: torch.Tensor = self.encode(inputs)
        finally:
            setattr(self.owner, self.name, projection)
        return features

    def project(self, pooled: torch.Tensor) -> torch.Tensor:
        """Project pooled features to the shared space: [n, width] -> [n, d]."""
        projection = getattr(self.owner, self.name)
        if projection is None:
            return pooled
        projected: torch.Tensor = projection(pooled) if isinstance(projection, nn.Module) else pooled @ projection
        return projected


def _split(encode: Any, owner: nn.Module, names: tuple[str, ...]) -> SplitTower:
    for name in names:
        if hasattr(owner, name):
            return SplitTower(encode, owner, name)
    raise UserError(
        f"the tower {type(owner).__name__} has no known projection, so it cannot be frozen; train both towers "
        "(finetune.trainable: all)"
    )

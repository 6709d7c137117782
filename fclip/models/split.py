"""Towers cut before their projection, so that what comes before, where models share it, is computed once."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fclip.errors import UserError

# Where open_clip's models keep the maps into the shared space: ViT, timm, ResNet; CLIP, CustomTextCLIP, transformers.
IMAGE_PROJECTIONS = ("visual.proj", "visual.head.", "visual.attnpool.c_proj.")
TEXT_PROJECTIONS = ("text_projection", "text.text_projection", "text.proj.")
PROJECTIONS = (*IMAGE_PROJECTIONS, *TEXT_PROJECTIONS)
SCALE, BIAS = "logit_scale", "logit_bias"
IMAGE_TOWER = "visual."


@dataclass(frozen=True)
class Split:
    """A tower cut before its projection: `pooled`, then `project`, is the whole of it."""

    encode: Any  # the model's own method: tokens or pixels -> features
    owner: nn.Module
    name: str

    @classmethod
    def of_texts(cls, model: Any) -> "Split":
        """Where open_clip's text towers are to be cut: CLIP's, CustomTextCLIP's, transformers'."""
        return _cut(model.encode_text, getattr(model, "text", model), ("text_projection", "proj"))

    @classmethod
    def of_images(cls, model: Any) -> "Split":
        """Where its image towers are: ViT's, and timm's, whose head ends in the projection."""
        visual = model.visual
        head = getattr(visual, "head", None)
        return _cut(model.encode_image, visual if head is None else head, ("proj",))

    def pooled(self, inputs: torch.Tensor) -> torch.Tensor:
        """Features before the projection: [n, …] -> [n, width]. Not for use from several threads."""
        projection = getattr(self.owner, self.name)
        setattr(self.owner, self.name, nn.Identity() if isinstance(projection, nn.Module) else None)
        try:
            features: torch.Tensor = self.encode(inputs)
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


def _cut(encode: Any, owner: nn.Module, names: tuple[str, ...]) -> Split:
    for name in names:
        if hasattr(owner, name):
            return Split(encode, owner, name)
    raise UserError(
        f"the tower {type(owner).__name__} has no known projection, so it cannot be frozen: tune both towers "
        "(finetune.trainable: all)"
    )

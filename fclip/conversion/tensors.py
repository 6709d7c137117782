"""The tensors of a CLIP under two names: open_clip's, and those of transformers' `CLIPModel`.

Both hold the same numbers. open_clip keeps query, key and value of a layer in one matrix, and both projections the
other way round (features times projection).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from fclip.errors import UserError

State = Mapping[str, torch.Tensor]

AFFINE = ("weight", "bias")
IMAGE_TOWER = {"ln_pre": "pre_layrnorm", "ln_post": "post_layernorm"}  # transformers spells it so
LAYER = {
    "ln_1": "layer_norm1",
    "attn.out_proj": "self_attn.out_proj",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


@dataclass(frozen=True)
class Match:
    """One tensor of open_clip: transformers' one, transposed or not, or the rows of several, one after the other."""

    open_clip: str
    transformers: tuple[str, ...]
    transposed: bool = False


def matches(*, image_layers: int, text_layers: int) -> list[Match]:
    """Every tensor of a CLIP whose towers have so many layers."""
    image, text = "vision_model", "text_model"
    found = [
        Match("logit_scale", ("logit_scale",)),
        Match("visual.class_embedding", (f"{image}.embeddings.class_embedding",)),
        Match("visual.conv1.weight", (f"{image}.embeddings.patch_embedding.weight",)),
        Match("visual.positional_embedding", (f"{image}.embeddings.position_embedding.weight",)),
        Match("visual.proj", ("visual_projection.weight",), transposed=True),
        Match("token_embedding.weight", (f"{text}.embeddings.token_embedding.weight",)),
        Match("positional_embedding", (f"{text}.embeddings.position_embedding.weight",)),
        Match("text_projection", ("text_projection.weight",), transposed=True),
    ]
    for kind in AFFINE:
        found += [Match(f"visual.{ours}.{kind}", (f"{image}.{theirs}.{kind}",)) for ours, theirs in IMAGE_TOWER.items()]
        found.append(Match(f"ln_final.{kind}", (f"{text}.final_layer_norm.{kind}",)))
        for layer in range(image_layers):
            found += _layer(f"visual.transformer.resblocks.{layer}", f"{image}.encoder.layers.{layer}", kind)
        for layer in range(text_layers):
            found += _layer(f"transformer.resblocks.{layer}", f"{text}.encoder.layers.{layer}", kind)
    return found


def to_open_clip(state: State, *, image_layers: int, text_layers: int) -> dict[str, torch.Tensor]:
    """transformers' tensors as open_clip's, float32.

    Raises:
        UserError: one is missing, or there are others than those of a CLIP.
    """
    known = matches(image_layers=image_layers, text_layers=text_layers)
    _require(state, {name for match in known for name in match.transformers})
    converted = {}
    for match in known:
        parts = [state[name].float() for name in match.transformers]
        joined = torch.cat(parts) if len(parts) > 1 else parts[0]
        converted[match.open_clip] = joined.T.contiguous() if match.transposed else joined
    return converted


def to_transformers(state: State, *, image_layers: int, text_layers: int) -> dict[str, torch.Tensor]:
    """open_clip's tensors as transformers', float32.

    Raises:
        UserError: one is missing, or there are others than those of a CLIP.
    """
    known = matches(image_layers=image_layers, text_layers=text_layers)
    _require(state, {match.open_clip for match in known})
    converted = {}
    for match in known:
        whole = state[match.open_clip].float()
        parts = whole.chunk(len(match.transformers)) if len(match.transformers) > 1 else (whole,)
        for name, part in zip(match.transformers, parts, strict=True):
            converted[name] = (part.T if match.transposed else part).contiguous().clone()
    return converted


def _layer(ours: str, theirs: str, kind: str) -> list[Match]:
    heads = tuple(f"{theirs}.self_attn.{part}_proj.{kind}" for part in "qkv")
    return [
        Match(f"{ours}.attn.in_proj_{kind}", heads),
        *(Match(f"{ours}.{one}.{kind}", (f"{theirs}.{other}.{kind}",)) for one, other in LAYER.items()),
    ]


def _require(state: State, names: set[str]) -> None:
    if missing := sorted(names - state.keys()):
        raise UserError(f"the weights lack {len(missing)} tensors of a CLIP, such as {missing[0]}")
    if unknown := sorted(state.keys() - names):
        raise UserError(f"the weights hold {len(unknown)} tensors that are no CLIP's, such as {unknown[0]}")

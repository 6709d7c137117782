"""Correspondence between the tensors of open_clip's CLIP and transformers' `CLIPModel`.

Both have the same values. open_clip joins query, key and value of a layer in one matrix and stores both projections
transposed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from fclip.errors import UserError

State = Mapping[str, torch.Tensor]

AFFINE = ("weight", "bias")
IMAGE_TOWER = {"ln_pre": "pre_layrnorm", "ln_post": "post_layernorm"}  # the spelling in transformers
LAYER = {
    "ln_1": "layer_norm1",
    "attn.out_proj": "self_attn.out_proj",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


@dataclass(frozen=True)
class TensorMatch:
    """A tensor of open_clip that equals one of transformers, possibly transposed, or several concatenated by rows."""

    open_clip: str
    transformers: tuple[str, ...]
    transposed: bool = False


def matches(*, image_layers: int, text_layers: int) -> list[TensorMatch]:
    """Return the correspondence for every tensor of a CLIP with the given numbers of layers."""
    image, text = "vision_model", "text_model"
    result = [
        TensorMatch("logit_scale", ("logit_scale",)),
        TensorMatch("visual.class_embedding", (f"{image}.embeddings.class_embedding",)),
        TensorMatch("visual.conv1.weight", (f"{image}.embeddings.patch_embedding.weight",)),
        TensorMatch("visual.positional_embedding", (f"{image}.embeddings.position_embedding.weight",)),
        TensorMatch("visual.proj", ("visual_projection.weight",), transposed=True),
        TensorMatch("token_embedding.weight", (f"{text}.embeddings.token_embedding.weight",)),
        TensorMatch("positional_embedding", (f"{text}.embeddings.position_embedding.weight",)),
        TensorMatch("text_projection", ("text_projection.weight",), transposed=True),
    ]
    for kind in AFFINE:
        result += [
            TensorMatch(f"visual.{ours}.{kind}", (f"{image}.{theirs}.{kind}",)) for ours, theirs in IMAGE_TOWER.items()
        ]
        result.append(TensorMatch(f"ln_final.{kind}", (f"{text}.final_layer_norm.{kind}",)))
    result += layer_matches("visual.transformer.resblocks", f"{image}.encoder.layers", image_layers)
    result += layer_matches("transformer.resblocks", f"{text}.encoder.layers", text_layers)
    return result


def to_open_clip(state: State, *, image_layers: int, text_layers: int) -> dict[str, torch.Tensor]:
    """Convert transformers' tensors to open_clip's, float32.

    Raises:
        UserError: a tensor of a CLIP is missing, or there is an unexpected tensor.
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
    """Convert open_clip's tensors to transformers', float32.

    Raises:
        UserError: a tensor of a CLIP is missing, or there is an unexpected tensor.
    """
    return convert(state, matches(image_layers=image_layers, text_layers=text_layers))


def convert(state: State, known: Sequence[TensorMatch]) -> dict[str, torch.Tensor]:
    """Convert open_clip's tensors to those of transformers that they match, float32.

    Raises:
        UserError: a tensor of `known` is missing, or there is an unexpected tensor.
    """
    _require(state, {match.open_clip for match in known})
    converted = {}
    for match in known:
        whole = state[match.open_clip].float()
        parts = whole.chunk(len(match.transformers)) if len(match.transformers) > 1 else (whole,)
        for name, part in zip(match.transformers, parts, strict=True):
            converted[name] = (part.T if match.transposed else part).contiguous().clone()
    return converted


def layer_matches(ours: str, theirs: str, num_layers: int) -> list[TensorMatch]:
    """Return the correspondence for the layers of a tower, whose names start with `ours.0`, `theirs.0` and so on."""
    result = []
    for layer in range(num_layers):
        for kind in AFFINE:
            heads = tuple(f"{theirs}.{layer}.self_attn.{part}_proj.{kind}" for part in "qkv")
            result.append(TensorMatch(f"{ours}.{layer}.attn.in_proj_{kind}", heads))
            result += [
                TensorMatch(f"{ours}.{layer}.{module}.{kind}", (f"{theirs}.{layer}.{other}.{kind}",))
                for module, other in LAYER.items()
            ]
    return result


def _require(state: State, names: set[str]) -> None:
    if missing := sorted(names - state.keys()):
        raise UserError(f"{len(missing)} tensors of a CLIP are missing from the weights, such as {missing[0]}")
    if unknown := sorted(state.keys() - names):
        raise UserError(f"the weights have {len(unknown)} tensors that a CLIP does not have, such as {unknown[0]}")

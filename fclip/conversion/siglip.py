"""Conversion of open_clip's SigLIP to transformers' `SiglipModel`.

In open_clip, the image tower is timm's vision transformer with attention pooling, and the text tower is open_clip's own
transformer without a causal mask, which pools at the last position. The values are equal. timm joins query, key and
value of a layer in one matrix, but separates the query of the pooling; transformers does the opposite.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from open_clip.tokenizer import HFTokenizer

from fclip.conversion import tokens
from fclip.conversion.preprocessing import square_side
from fclip.conversion.tensors import AFFINE, State, TensorMatch, convert, layer_matches
from fclip.errors import UserError
from fclip.models.store import Clip

IMAGE, TEXT = "vision_model", "text_model"
TRUNK, POOL = "visual.trunk", "visual.trunk.attn_pool"
IMAGE_LAYER = {
    "norm1": "layer_norm1",
    "attn.proj": "self_attn.out_proj",
    "norm2": "layer_norm2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
MODULES = {
    f"{TRUNK}.patch_embed.proj": f"{IMAGE}.embeddings.patch_embedding",
    f"{TRUNK}.norm": f"{IMAGE}.post_layernorm",
    f"{POOL}.proj": f"{IMAGE}.head.attention.out_proj",
    f"{POOL}.norm": f"{IMAGE}.head.layernorm",
    f"{POOL}.mlp.fc1": f"{IMAGE}.head.mlp.fc1",
    f"{POOL}.mlp.fc2": f"{IMAGE}.head.mlp.fc2",
    "text.ln_final": f"{TEXT}.final_layer_norm",
    "text.text_projection": f"{TEXT}.head",
}
"""Modules with a weight and a bias outside of the layers."""

WHITESPACE: list[dict[str, Any]] = [
    {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
    {"type": "Strip", "strip_left": True, "strip_right": True},
]
LOWER = {"type": "Lowercase"}
CLEANING: dict[str, list[dict[str, Any]]] = {
    "whitespace": WHITESPACE,
    "lower": [*WHITESPACE, LOWER],
    "canonicalize": [
        {"type": "Replace", "pattern": {"String": "_"}, "content": " "},
        {"type": "Replace", "pattern": {"Regex": r"[!-/:-@\[-`{-~]"}, "content": ""},  # ASCII punctuation
        LOWER,
        *WHITESPACE,
    ],
}
"""The cleaning of texts that open_clip does before its tokenizer of transformers, as normalizers of that tokenizer."""


@dataclass(frozen=True)
class SiglipParts:
    """What the files of a `SiglipModel` contain: arguments of `SiglipConfig`, and tensors."""

    config: dict[str, Any]
    state: dict[str, torch.Tensor]


def is_siglip(model: Any) -> bool:
    """Whether the model has a SigLIP's image tower (of timm, with attention pooling) and a separate text tower."""
    pool = getattr(getattr(model.visual, "trunk", None), "attn_pool", None)
    return type(pool).__name__ == "AttentionPoolLatent" and getattr(model, "text", None) is not None


def convert_siglip(clip: Clip) -> SiglipParts:
    """Convert a SigLIP.

    Raises:
        UserError: the model has a feature that `SiglipModel` lacks.
    """
    model: Any = clip.model
    trunk, text = model.visual.trunk, model.text
    if getattr(text, "pool_type", None) != "last" or text.attn_mask is not None or text.cls_emb is not None:
        raise UserError(
            "its text tower is not SigLIP's, which pools at the last token and has no causal mask "
            f"(it is a {type(text).__name__})"
        )
    state = dict(model.state_dict())
    width = trunk.embed_dim
    if state[f"{TRUNK}.pos_embed"].shape[1] != trunk.patch_embed.num_patches or len(model.visual.head):
        raise UserError("its image tower has class tokens or a projection, which SigLIP's has not")
    state[f"{TRUNK}.pos_embed"] = state[f"{TRUNK}.pos_embed"][0]
    for kind in AFFINE:
        query, rest = state.pop(f"{POOL}.q.{kind}", None), state.pop(f"{POOL}.kv.{kind}", None)
        if query is None or rest is None:
            raise UserError("its attention pooling has no query projection or no biases")
        state[f"{POOL}.in_proj_{kind}"] = torch.cat([query, rest])
    state["logit_scale"] = state["logit_scale"].reshape(1)
    state["logit_bias"] = state.get("logit_bias", torch.zeros(())).reshape(1)
    layers = text.transformer.resblocks
    own = getattr(clip.tokenizer, "tokenizer", None)
    config = {
        "vision_config": {
            "image_size": clip.preprocess.size,
            "patch_size": square_side(list(trunk.patch_embed.patch_size), "patch_size"),
            "hidden_size": width,
            "num_attention_heads": trunk.blocks[0].attn.num_heads,
            "num_hidden_layers": len(trunk.blocks),
            "intermediate_size": trunk.blocks[0].mlp.fc1.out_features,
            "hidden_act": _activation(trunk.blocks[0].mlp.act),
            "layer_norm_eps": trunk.norm.eps,
        },
        "text_config": {
            "max_position_embeddings": text.context_length,
            "vocab_size": text.vocab_size,
            "hidden_size": text.width,
            "num_attention_heads": text.heads,
            "num_hidden_layers": len(layers),
            "intermediate_size": layers[0].mlp.c_fc.out_features,
            "hidden_act": _activation(layers[0].mlp.gelu),
            "layer_norm_eps": text.ln_final.eps,
            "projection_size": text.output_dim,
            **{name: getattr(own, name, None) for name in ("pad_token_id", "bos_token_id", "eos_token_id")},
        },
    }
    return SiglipParts(config, convert(state, _matches(len(trunk.blocks), len(layers), state)))


def write_siglip_tokenizer(clip: Clip, text_cfg: dict[str, Any], out_dir: Path) -> None:
    """Write the tokenizer with open_clip's cleaning of texts, except its repair of wrong encodings and HTML entities.

    Raises:
        UserError: it is not a fast tokenizer of transformers, or open_clip changes its tokens.
    """
    options = dict(text_cfg.get("tokenizer_kwargs") or {})
    clean = options.pop("clean", "whitespace")
    if not isinstance(clip.tokenizer, HFTokenizer) or not hasattr(clip.tokenizer.tokenizer, "backend_tokenizer"):
        raise UserError("its tokenizer is not a fast tokenizer of transformers")
    if options or text_cfg.get("tokenizer_mode") or clean not in CLEANING:
        raise UserError(f"its tokenizer has options that transformers lacks: {text_cfg.get('tokenizer_kwargs')}")
    tokens.write_tokenizer(
        clip.tokenizer.tokenizer,
        out_dir,
        context_length=clip.context_length,
        cleaning=CLEANING[clean],
        inputs=("input_ids",),  # SigLIP does not mask padding
    )


def _matches(image_layers: int, text_layers: int, state: State) -> list[TensorMatch]:
    result = [
        TensorMatch("logit_scale", ("logit_scale",)),
        TensorMatch("logit_bias", ("logit_bias",)),
        TensorMatch(f"{TRUNK}.pos_embed", (f"{IMAGE}.embeddings.position_embedding.weight",)),
        TensorMatch(f"{POOL}.latent", (f"{IMAGE}.head.probe",)),
        TensorMatch("text.token_embedding.weight", (f"{TEXT}.embeddings.token_embedding.weight",)),
        TensorMatch("text.positional_embedding", (f"{TEXT}.embeddings.position_embedding.weight",)),
    ]
    for kind in AFFINE:
        result.append(TensorMatch(f"{POOL}.in_proj_{kind}", (f"{IMAGE}.head.attention.in_proj_{kind}",)))
        result += [TensorMatch(f"{ours}.{kind}", (f"{theirs}.{kind}",)) for ours, theirs in MODULES.items()]
        for layer in range(image_layers):
            ours, theirs = f"{TRUNK}.blocks.{layer}", f"{IMAGE}.encoder.layers.{layer}"
            heads = tuple(f"{theirs}.self_attn.{part}_proj.{kind}" for part in "qkv")
            result.append(TensorMatch(f"{ours}.attn.qkv.{kind}", heads))
            result += [
                TensorMatch(f"{ours}.{module}.{kind}", (f"{theirs}.{other}.{kind}",))
                for module, other in IMAGE_LAYER.items()
            ]
    return result + layer_matches("text.transformer.resblocks", f"{TEXT}.encoder.layers", text_layers)


def _activation(module: Any) -> str:
    """Return transformers' name of an activation function of timm or open_clip."""
    name = type(module).__name__
    if name == "GELU":
        return "gelu_pytorch_tanh" if getattr(module, "approximate", "none") == "tanh" else "gelu"
    names = {"GELUTanh": "gelu_pytorch_tanh", "QuickGELU": "quick_gelu"}
    if name not in names:
        raise UserError(f"its activation function {name} is not supported")
    return names[name]

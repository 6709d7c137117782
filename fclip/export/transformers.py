"""The way back: a CLIP in open_clip's local-directory form -> transformers' `CLIPModel`, for those who load it there.

`CLIPModel.from_pretrained(OUT)` and `CLIPProcessor.from_pretrained(OUT)` then give the same features, up to rounding.
"""

import logging
from dataclasses import fields
from pathlib import Path
from typing import Any

from open_clip import CLIPTextCfg, CLIPVisionCfg
from open_clip.tokenizer import HFTokenizer
from safetensors.torch import save_file

from fclip.conversion import tokens
from fclip.conversion.from_transformers import ARGMAX, LAYER_NORM_EPS, PREPROCESSING
from fclip.conversion.preprocessing import square_side, to_processor
from fclip.conversion.tensors import to_transformers
from fclip.errors import UserError
from fclip.files import atomic_dir, write_json
from fclip.models import store

logger = logging.getLogger(__name__)

MODEL = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text", "init_logit_scale", "init_logit_bias"}
# What has a counterpart, or matters in training alone; the rest must be as it is by default.
TOWER = {"layers", "width", "mlp_ratio", "norm_kwargs"}
IMAGE_TOWER = TOWER | {"head_width", "patch_size", "image_size", "patch_dropout"}
TEXT_TOWER = TOWER | {"context_length", "vocab_size", "heads", "pool_type", "eos_id", "pad_id", "hf_tokenizer_name"}


def export_clip(folder: Path, out_dir: Path) -> None:
    """Write the model folder `folder` to `out_dir`, in place of what that holds, as transformers' files.

    A `logit_bias` (of the sigmoid loss) is left out, with a warning: `CLIPModel` has none; no embedding needs it.

    Raises:
        UserError: the folder holds no model, or one that is no plain CLIP (timm's or transformers' towers, SigLIP).
    """
    clip = store.load(folder)
    try:
        config = _config(store.read_config(folder)["model_cfg"], clip)
        processor = to_processor(clip.preprocess)
    except UserError as error:
        raise UserError(f"{folder} cannot be a CLIPModel of transformers: {error}") from error
    from transformers import CLIPConfig, CLIPModel

    model = CLIPModel(CLIPConfig(**config, architectures=["CLIPModel"], dtype="float32"))
    state = {name.removeprefix("text."): tensor for name, tensor in clip.model.state_dict().items()}
    if "logit_bias" in state:
        logger.warning("logit_bias (%.3f) is left out: CLIPModel has none", float(state.pop("logit_bias")))
    state["logit_scale"] = state["logit_scale"].reshape(())
    image, text = config["vision_config"], config["text_config"]
    model.load_state_dict(
        to_transformers(state, image_layers=image["num_hidden_layers"], text_layers=text["num_hidden_layers"])
    )
    with atomic_dir(out_dir) as temporary:
        model.config.save_pretrained(temporary)
        save_file(model.state_dict(), temporary / "model.safetensors", metadata={"format": "pt"})
        write_json(temporary / PREPROCESSING, processor)
        tokenizer = tokens.clip_tokenizer(clip.context_length)
        if isinstance(clip.tokenizer, HFTokenizer):
            tokenizer = clip.tokenizer.tokenizer
            tokenizer.model_max_length = clip.context_length
        tokenizer.save_pretrained(temporary)


def _config(model_cfg: dict[str, Any], clip: store.Clip) -> dict[str, Any]:
    """What transformers' `CLIPConfig` is made of."""
    if unknown := sorted(set(model_cfg) - MODEL):
        raise UserError(f"model_cfg has {', '.join(unknown)}")
    image, text = CLIPVisionCfg(**model_cfg["vision_cfg"]), CLIPTextCfg(**model_cfg["text_cfg"])
    _require_plain(image, IMAGE_TOWER, "vision_cfg")
    _require_plain(text, TEXT_TOWER, "text_cfg")
    if not isinstance(image.layers, int):
        raise UserError("its image tower is a ResNet")
    activation = "quick_gelu" if model_cfg.get("quick_gelu") else "gelu"
    return {
        "projection_dim": model_cfg["embed_dim"],
        "vision_config": {
            "image_size": clip.preprocess.size,
            "patch_size": square_side(image.patch_size, "patch_size"),
            "num_attention_heads": image.width // image.head_width,
            **_layers(image, activation, model_cfg["embed_dim"]),
        },
        "text_config": {
            "max_position_embeddings": text.context_length,
            "vocab_size": text.vocab_size,
            "num_attention_heads": text.heads,
            "eos_token_id": _eos(text, isinstance(clip.tokenizer, HFTokenizer)),
            **_layers(text, activation, model_cfg["embed_dim"]),
        },
    }


def _layers(tower: Any, activation: str, embed_dim: int) -> dict[str, Any]:
    options = dict(tower.norm_kwargs or {})
    eps = options.pop("eps", LAYER_NORM_EPS)
    if options:
        raise UserError(f"its norm_kwargs have {', '.join(sorted(options))}")
    return {
        "hidden_size": tower.width,
        "intermediate_size": int(tower.width * tower.mlp_ratio),
        "num_hidden_layers": tower.layers,
        "hidden_act": activation,
        "layer_norm_eps": eps,
        "projection_dim": embed_dim,
    }


def _eos(text: Any, has_own_tokenizer: bool) -> int:
    """The token at whose first place a text's features are taken, or `ARGMAX`."""
    if text.pool_type == "argmax":
        return ARGMAX if has_own_tokenizer else tokens.SIZE - 1
    if text.pool_type != "eos" or text.eos_id == ARGMAX:
        raise UserError(f"its text features are taken at `{text.pool_type}` {text.eos_id}")
    return int(text.eos_id)


def _require_plain(tower: Any, known: set[str], name: str) -> None:
    for field in fields(tower):
        if field.name not in known and getattr(tower, field.name) != field.default:
            raise UserError(f"it has {name}.{field.name} {getattr(tower, field.name)}")

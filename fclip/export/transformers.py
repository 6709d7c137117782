"""Export a CLIP model from open_clip's local-directory form to transformers' `CLIPModel`.

`CLIPModel.from_pretrained(OUT)` and `CLIPProcessor.from_pretrained(OUT)` give the same features, up to rounding.
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
from fclip.models.folder import read_config

logger = logging.getLogger(__name__)

MODEL = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text", "init_logit_scale", "init_logit_bias"}
# Settings that transformers supports or that matter only in training. All others must have their default values.
TOWER = {"layers", "width", "mlp_ratio", "norm_kwargs"}
IMAGE_TOWER = TOWER | {"head_width", "patch_size", "image_size", "patch_dropout"}
TEXT_TOWER = TOWER | {"context_length", "vocab_size", "heads", "pool_type", "eos_id", "pad_id", "hf_tokenizer_name"}


def export_clip(folder: Path, out_dir: Path) -> None:
    """Write the model in `folder` to `out_dir` in transformers format. Existing content of `out_dir` is replaced.

    `CLIPModel` has no `logit_bias` (used by the sigmoid loss), so it is left out with a warning. Embeddings do not
    depend on it.

    Raises:
        UserError: the folder contains no model, or the model is not a plain CLIP (timm or transformers towers, SigLIP).
    """
    clip = store.load(folder)
    try:
        config = _config(read_config(folder)["model_cfg"], clip)
        processor = to_processor(clip.preprocess)
    except UserError as error:
        raise UserError(f"{folder} cannot be exported as a CLIPModel of transformers: {error}") from error
    from transformers import CLIPConfig, CLIPModel

    model = CLIPModel(CLIPConfig(**config, architectures=["CLIPModel"], dtype="float32"))
    state = {name.removeprefix("text."): tensor for name, tensor in clip.model.state_dict().items()}
    if "logit_bias" in state:
        logger.warning("left out logit_bias (%.3f), which CLIPModel does not have", float(state.pop("logit_bias")))
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
    """Return the arguments of transformers' `CLIPConfig`."""
    if unknown := sorted(set(model_cfg) - MODEL):
        raise UserError(f"its model_cfg has unsupported keys: {', '.join(unknown)}")
    image, text = CLIPVisionCfg(**model_cfg["vision_cfg"]), CLIPTextCfg(**model_cfg["text_cfg"])
    _require_plain(image, IMAGE_TOWER, "vision_cfg")
    _require_plain(text, TEXT_TOWER, "text_cfg")
    if not isinstance(image.layers, int):
        raise UserError("its image tower is a ResNet, not a vision transformer")
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
        raise UserError(f"its norm_kwargs have unsupported keys: {', '.join(sorted(options))}")
    return {
        "hidden_size": tower.width,
        "intermediate_size": int(tower.width * tower.mlp_ratio),
        "num_hidden_layers": tower.layers,
        "hidden_act": activation,
        "layer_norm_eps": eps,
        "projection_dim": embed_dim,
    }


def _eos(text: Any, has_own_tokenizer: bool) -> int:
    """Return the token whose first position gives the text features, or `ARGMAX`."""
    if text.pool_type == "argmax":
        return ARGMAX if has_own_tokenizer else tokens.SIZE - 1
    if text.pool_type != "eos" or text.eos_id == ARGMAX:
        raise UserError(f"its text pooling (`{text.pool_type}`, eos_id {text.eos_id}) is not supported")
    return int(text.eos_id)


def _require_plain(tower: Any, known: set[str], name: str) -> None:
    for field in fields(tower):
        if field.name not in known and getattr(tower, field.name) != field.default:
            raise UserError(f"{name}.{field.name} is {getattr(tower, field.name)}, which is not supported")

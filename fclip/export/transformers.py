"""Export of a model in transformers' format: `CLIPModel`, or `SiglipModel` for SigLIP.

`AutoModel.from_pretrained(OUT)` and `AutoProcessor.from_pretrained(OUT)` load it offline and without remote code, with
transformers 4 and 5. The features are those of the pipeline, with two differences that transformers does not let a
model configure: open_clip repairs wrong encodings and HTML entities in texts first, and if the margin of a centre crop
is 3, 7, 11, … pixels, transformers splits it differently by one pixel.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from open_clip import CLIPTextCfg, CLIPVisionCfg
from open_clip.tokenizer import HFTokenizer
from safetensors.torch import save_file

from fclip.conversion import tokens
from fclip.conversion.from_transformers import ARGMAX, LAYER_NORM_EPS, PREPROCESSING
from fclip.conversion.preprocessing import square_side, to_processor
from fclip.conversion.siglip import convert_siglip, is_siglip, write_siglip_tokenizer
from fclip.conversion.tensors import to_transformers
from fclip.errors import UserError
from fclip.export.parity import Parity, ParityInputs, drawn_inputs, pipeline_embeddings, require_parity
from fclip.features.similarity import FloatArray, unit
from fclip.files import atomic_dir, is_occupied, write_json
from fclip.images.pixels import read_image
from fclip.models import store
from fclip.models.folder import read_config
from fclip.models.preprocess import Preprocess
from fclip.models.weights import materialised

logger = logging.getLogger(__name__)

BATCH_SIZE = 32
MODEL = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text", "init_logit_scale", "init_logit_bias"}
# Settings that transformers supports or that matter only in training. All others must have their default values.
TOWER = {"layers", "width", "mlp_ratio", "norm_kwargs"}
IMAGE_TOWER = TOWER | {"head_width", "patch_size", "image_size", "patch_dropout"}
TEXT_TOWER = TOWER | {"context_length", "vocab_size", "heads", "pool_type", "eos_id", "pad_id", "hf_tokenizer_name"}


def export_transformers(folder: Path, out_dir: Path, inputs: ParityInputs | None = None) -> Parity:
    """Write the model or mixture in `folder` to `out_dir` for transformers, after comparing it with the pipeline.

    `CLIPModel` has no `logit_bias` (used by the sigmoid loss), so it is left out with a warning. Embeddings do not
    depend on it.

    Args:
        out_dir: missing or empty; it appears complete or not at all.
        inputs: what to compare embeddings on; None for drawn products.

    Raises:
        UserError: `out_dir` is not empty, the folder contains no usable model, transformers has no class for the model
            (timm or transformers towers other than SigLIP's), or the embeddings differ.
    """
    if is_occupied(out_dir):
        raise UserError(f"{out_dir} is not empty; name a new or an empty folder")
    inputs = inputs or drawn_inputs()
    with materialised(folder) as source:
        clip = store.load(source)
        model_cfg = read_config(source)["model_cfg"]
    export = f"{folder} in transformers' format"
    with atomic_dir(out_dir) as temporary:
        try:
            (_write_siglip if is_siglip(clip.model) else _write_clip)(clip, model_cfg, temporary)
        except UserError as error:
            raise UserError(f"{folder} cannot be exported to transformers: {error}") from error
        images, texts = pipeline_embeddings(clip, inputs)
        their_images, their_texts = _embeddings(temporary, inputs)
        alike = np.array([_is_cropped_alike(content, clip.preprocess) for content in inputs.images], dtype=bool)
        if not alike.any():
            raise UserError(
                f"{export}: transformers crops each of the {len(alike)} images one pixel away from the pipeline, so "
                "the embeddings cannot be equal; use another format"
            )
        compared = replace(inputs, images=[content for content, same in zip(inputs.images, alike, strict=True) if same])
        parity = require_parity(images[alike], texts, their_images[alike], their_texts, compared, export=export)
        if not alike.all():
            cosines = (unit(images[~alike]) * unit(their_images[~alike])).sum(axis=1)
            logger.warning(
                "transformers crops %d of %d images one pixel away from the pipeline; the lowest cosine of their "
                "embeddings is %.4f",
                len(cosines),
                len(alike),
                cosines.min(),
            )
    return replace(parity, num_images_left_out=int((~alike).sum()))


def _write_clip(clip: store.Clip, model_cfg: dict[str, Any], out_dir: Path) -> None:
    config = _config(model_cfg, clip)
    processor = to_processor(clip.preprocess)
    state = {name.removeprefix("text."): tensor for name, tensor in clip.model.state_dict().items()}
    if "logit_bias" in state:
        logger.warning("left out logit_bias (%.3f), which CLIPModel does not have", float(state.pop("logit_bias")))
    state["logit_scale"] = state["logit_scale"].reshape(())
    image, text = config["vision_config"], config["text_config"]
    state = to_transformers(state, image_layers=image["num_hidden_layers"], text_layers=text["num_hidden_layers"])
    from transformers import CLIPConfig, CLIPModel

    _write_model(CLIPModel(CLIPConfig(**config, architectures=["CLIPModel"], dtype="float32")), state, out_dir)
    write_json(out_dir / PREPROCESSING, processor)
    if isinstance(clip.tokenizer, HFTokenizer):
        tokens.write_tokenizer(clip.tokenizer.tokenizer, out_dir, context_length=clip.context_length)
    else:
        tokens.clip_tokenizer(clip.context_length).save_pretrained(out_dir)


def _write_siglip(clip: store.Clip, model_cfg: dict[str, Any], out_dir: Path) -> None:
    parts = convert_siglip(clip)
    if clip.preprocess.resize_mode != "squash":
        raise UserError(
            f"its resize_mode is `{clip.preprocess.resize_mode}`, but transformers' SigLIP processor supports only "
            "`squash`"
        )
    from transformers import SiglipConfig, SiglipModel

    config = SiglipConfig(**parts.config, architectures=["SiglipModel"], dtype="float32")
    _write_model(SiglipModel(config), parts.state, out_dir)
    processor = to_processor(clip.preprocess)
    del processor["do_center_crop"], processor["crop_size"]
    write_json(out_dir / PREPROCESSING, {**processor, "image_processor_type": "SiglipImageProcessor"})
    write_siglip_tokenizer(clip, model_cfg["text_cfg"], out_dir)


def _write_model(model: Any, state: dict[str, torch.Tensor], out_dir: Path) -> None:
    model.load_state_dict(state)
    model.config.save_pretrained(out_dir)
    save_file(model.state_dict(), out_dir / "model.safetensors", metadata={"format": "pt"})


@torch.inference_mode()
def _embeddings(folder: Path, inputs: ParityInputs) -> tuple[FloatArray, FloatArray]:
    """Return the embeddings of the images and all texts, computed by transformers alone."""
    from transformers import AutoModel, AutoProcessor

    with store.quiet():
        model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    padding = "max_length" if model.config.model_type == "siglip" else True
    images, texts = [], []
    for batch in _batches(inputs.images):
        pixels = processor(images=[read_image(content) for content in batch], return_tensors="pt")
        images.append(model.get_image_features(**pixels).pooler_output.numpy())
    for batch in _batches(inputs.all_texts):
        encoded = processor(text=list(batch), padding=padding, truncation=True, return_tensors="pt")
        texts.append(model.get_text_features(**encoded).pooler_output.numpy())
    return np.concatenate(images), np.concatenate(texts)


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[begin : begin + BATCH_SIZE] for begin in range(0, len(items), BATCH_SIZE))


def _is_cropped_alike(content: bytes, preprocess: Preprocess) -> bool:
    """Whether transformers, which rounds the offset of a centre crop down, crops an image as torchvision does."""
    if preprocess.resize_mode != "shortest":
        return True
    shorter, longer = sorted(read_image(content).size)
    margin = int(preprocess.size * longer / shorter) - preprocess.size
    return round(margin / 2) == margin // 2


def _config(model_cfg: dict[str, Any], clip: store.Clip) -> dict[str, Any]:
    """Return the arguments of transformers' `CLIPConfig`."""
    if unknown := sorted(set(model_cfg) - MODEL):
        raise UserError(f"its model_cfg has unsupported keys: {', '.join(unknown)}")
    image, text = CLIPVisionCfg(**model_cfg["vision_cfg"]), CLIPTextCfg(**model_cfg["text_cfg"])
    if foreign := _foreign_towers(image, text):
        raise UserError(f"transformers has no class for its {foreign}; use another format")
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


def _foreign_towers(image: CLIPVisionCfg, text: CLIPTextCfg) -> str:
    """Describe the towers that are not open_clip's own. Only SigLIP's image tower of timm has a class."""
    towers = []
    if image.timm_model_name:
        towers.append(f"image tower (timm's {image.timm_model_name})")
    if text.hf_model_name:
        towers.append(f"text tower (of transformers, with {text.hf_pooler_type})")
    return " and ".join(towers)


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

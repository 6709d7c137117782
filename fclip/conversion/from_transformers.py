"""CLIPs in transformers' form (`CLIPModel`, as FashionCLIP is published) -> open_clip's local-directory form.

open_clip's model gives the same features, for images and for texts, up to rounding. Weights are read as safetensors
where there are some, else as `pytorch_model.bin` without unpickling code; transformers reads the config alone.
"""

import json
import math
import pickle
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.tokenizer import HFTokenizer
from safetensors import SafetensorError
from safetensors.torch import load_file

from fclip.conversion import tokens
from fclip.conversion.preprocessing import from_processor, square_side
from fclip.conversion.tensors import to_open_clip
from fclip.errors import UserError
from fclip.models import store

CONFIG = "config.json"
PREPROCESSING, PROCESSOR = "preprocessor_config.json", "processor_config.json"  # of transformers before 5, and since
TOKENIZER = (
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
WEIGHTS = (
    ("model.safetensors",),
    ("model.safetensors.index.json", "model-*-of-*.safetensors"),
    ("pytorch_model.bin",),
    ("pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin"),
)
"""In order of preference; what is split into several files has an index."""

ARGMAX = 2
"""An `eos_token_id` of old configs, by mistake: transformers then pools at the highest id, as CLIP itself does."""
LAYER_NORM_EPS = 1e-5
MLP_RATIO = 4.0


def source_files(names: Iterable[str]) -> tuple[str, ...]:
    """Those of a folder's or repository's files that a model is read from, sorted."""
    present = set(names)
    weights = next((patterns for patterns in WEIGHTS if patterns[0] in present), ())
    wanted = (CONFIG, PREPROCESSING, PROCESSOR, *TOKENIZER, *weights)
    return tuple(sorted(name for name in present if any(fnmatchcase(name, pattern) for pattern in wanted)))


def import_clip(folder: Path, files: Sequence[str], out_dir: Path) -> None:
    """Write the model that `files` of `folder` hold to `out_dir` (existing and empty).

    Without a tokenizer, the vocabulary must be of CLIP's size, and is taken to be CLIP's; without a description of
    preprocessing, that is CLIP's.

    Raises:
        UserError: the model is none of transformers' CLIPs, lacks a part, or does what open_clip's CLIP cannot.
    """
    try:
        config = _read_config(folder)
        model_cfg = _model_cfg(config)
        preprocess = from_processor(_processor(folder, files), model_cfg["vision_cfg"]["image_size"])
        tokenizer = _tokenizer(folder, files, model_cfg["text_cfg"])
        if tokenizer is not None:
            store.write_tokenizer(tokenizer, out_dir)
            model_cfg["text_cfg"]["hf_tokenizer_name"] = store.HERE
        with store.quiet():
            model = open_clip.CLIP(**model_cfg)
        state = to_open_clip(
            _read_weights(folder, files),
            image_layers=model_cfg["vision_cfg"]["layers"],
            text_layers=model_cfg["text_cfg"]["layers"],
        )
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            said = " ".join(str(error).split())
            raise UserError(f"the weights are not of the shapes that {CONFIG} says: {said:.300}") from error
        store.write_config(model_cfg, preprocess, out_dir)
        store.write_weights(model, out_dir)
    except UserError as error:
        raise UserError(f"{folder} cannot be read as a CLIPModel of transformers: {error}") from error


def _read_config(folder: Path) -> Any:
    """transformers' `CLIPConfig`, which knows the defaults that a stored config leaves out."""
    values = _read_json(folder / CONFIG)
    kind = values.get("model_type")
    if kind != "clip":
        raise UserError(
            f"its model_type is {kind}, not clip. A model of another kind (SigLIP, ChineseCLIP) can be a base model where "
            f"its folder or repository holds {store.CONFIG}: {{kind: open_clip, model: 'hf-hub:ORGANISATION/NAME'}} or "
            "{kind: local, path: FOLDER}"
        )
    from transformers import CLIPConfig

    try:
        return CLIPConfig.from_dict(values)
    except Exception as error:  # its validation raises a class of its own, of no common base
        raise UserError(f"its {CONFIG} is refused by transformers: {' '.join(str(error).split()):.300}") from error


def _model_cfg(config: Any) -> dict[str, Any]:
    """open_clip's config of the same architecture."""
    image, text = config.vision_config, config.text_config
    activations = {image.hidden_act, text.hidden_act}
    if activations not in ({"gelu"}, {"quick_gelu"}):
        named = " and ".join(sorted(activations))
        raise UserError(f"its towers use {named}, where open_clip's both use gelu, or both quick_gelu")
    if image.num_channels != 3:
        raise UserError(f"its images have {image.num_channels} channels, not 3")
    return {
        "embed_dim": config.projection_dim,
        "quick_gelu": activations == {"quick_gelu"},
        "vision_cfg": {
            "image_size": square_side(image.image_size, "image_size"),
            "patch_size": square_side(image.patch_size, "patch_size"),
            "width": image.hidden_size,
            "layers": image.num_hidden_layers,
            "head_width": image.hidden_size // image.num_attention_heads,
            **_layers(image),
        },
        "text_cfg": {
            "context_length": text.max_position_embeddings,
            "vocab_size": text.vocab_size,
            "width": text.hidden_size,
            "layers": text.num_hidden_layers,
            "heads": text.num_attention_heads,
            **_layers(text),
            **_pooling(text),
        },
    }


def _layers(tower: Any) -> dict[str, Any]:
    """What of a tower's layers is not as open_clip has it by default."""
    found: dict[str, Any] = {}
    if tower.intermediate_size != tower.hidden_size * MLP_RATIO:
        ratio = tower.intermediate_size / tower.hidden_size
        while int(tower.hidden_size * ratio) < tower.intermediate_size:  # open_clip truncates
            ratio = math.nextafter(ratio, math.inf)
        found["mlp_ratio"] = ratio
    if tower.layer_norm_eps != LAYER_NORM_EPS:
        found["norm_kwargs"] = {"eps": tower.layer_norm_eps}
    return found


def _pooling(text: Any) -> dict[str, Any]:
    """Where a text's features are taken: at its first end-of-text token, which in CLIP's vocabulary is the highest."""
    if not isinstance(text.eos_token_id, int):
        raise UserError(f"its eos_token_id is {text.eos_token_id}, not one number")
    if text.eos_token_id in (ARGMAX, text.vocab_size - 1):
        return {}
    return {"pool_type": "eos", "eos_id": text.eos_token_id}


def _processor(folder: Path, files: Sequence[str]) -> dict[str, Any]:
    if PREPROCESSING in files:
        return _read_json(folder / PREPROCESSING)
    if PROCESSOR in files:
        return dict(_read_json(folder / PROCESSOR).get("image_processor") or {})
    return {}


def _tokenizer(folder: Path, files: Sequence[str], text_cfg: dict[str, Any]) -> HFTokenizer | None:
    """transformers' tokenizer of the model; None where open_clip's own gives the same tokens."""
    if "tokenizer.json" not in files and not {"vocab.json", "merges.txt"} <= set(files):
        if text_cfg["vocab_size"] == tokens.SIZE:
            return None
        raise UserError(f"it has no tokenizer, and its vocabulary of {text_cfg['vocab_size']} is not CLIP's")
    try:
        tokenizer = HFTokenizer(str(folder), context_length=text_cfg["context_length"], local_files_only=True)
    except Exception as error:  # what a broken tokenizer raises is of many classes
        raise UserError(f"its tokenizer could not be loaded: {' '.join(str(error).split()):.300}") from error
    if tokens.is_clips(tokenizer.tokenizer):
        return None
    if tokenizer.tokenizer.pad_token is None:
        raise UserError("its tokenizer has no padding token")
    return tokenizer


def _read_weights(folder: Path, files: Sequence[str]) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = {}
    for name in files:
        try:
            if name.endswith(".safetensors"):
                state |= load_file(folder / name)
            elif name.endswith(".bin"):
                state |= torch.load(folder / name, map_location="cpu", weights_only=True)
        except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, TypeError, OSError) as error:
            said = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"its weights {name} could not be read: {said:.300}") from error
    if not state:
        raise UserError(f"it has no weights: expected {' or '.join(patterns[0] for patterns in WEIGHTS)}")
    # Until 4.31 transformers stored what numbers the positions.
    return {name: tensor for name, tensor in state.items() if not name.endswith(".position_ids")}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"it has no {path.name}") from None
    except ValueError as error:
        raise UserError(f"its {path.name} is no JSON: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"its {path.name} is no JSON object")
    return values

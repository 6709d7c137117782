"""Conversion of transformers' `CLIPModel` (as FashionCLIP is published) to open_clip's local-directory format.

The converted model gives the same image and text features up to rounding. Weights are read from safetensors if
present, else from `pytorch_model.bin` without unpickling code. transformers itself only parses the config.
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
from fclip.models.folder import CONFIG as OPEN_CLIP_CONFIG
from fclip.models.folder import SAME_FOLDER, write_config

CONFIG = "config.json"
PREPROCESSING, PROCESSOR = (
    "preprocessor_config.json",
    "processor_config.json",
)  # of transformers before and since version 5
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
"""File patterns in order of preference. Sharded weights have an index."""

ARGMAX = 2
"""A wrong `eos_token_id` in old configs. transformers then pools at the highest token id, as CLIP does."""
LAYER_NORM_EPS = 1e-5
MLP_RATIO = 4.0


def source_files(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the files that a model is read from, sorted.

    Args:
        names: all files of a folder or repository.
    """
    present = set(names)
    weights = next((patterns for patterns in WEIGHTS if patterns[0] in present), ())
    wanted = (CONFIG, PREPROCESSING, PROCESSOR, *TOKENIZER, *weights)
    return tuple(sorted(name for name in present if any(fnmatchcase(name, pattern) for pattern in wanted)))


def import_clip(folder: Path, files: Sequence[str], out_dir: Path) -> None:
    """Convert the model in `files` of `folder` and write it to `out_dir` (existing and empty).

    Without a tokenizer, the vocabulary must have the size of CLIP's and is assumed to be CLIP's. Without a
    preprocessing config, CLIP's is used.

    Raises:
        UserError: the model is not a CLIP of transformers, is incomplete, or has a feature that open_clip's CLIP lacks.
    """
    try:
        config = _read_config(folder)
        model_cfg = _model_cfg(config)
        preprocess = from_processor(_processor(folder, files), model_cfg["vision_cfg"]["image_size"])
        tokenizer = _tokenizer(folder, files, model_cfg["text_cfg"])
        if tokenizer is not None:
            store.write_tokenizer(tokenizer, out_dir)
            model_cfg["text_cfg"]["hf_tokenizer_name"] = SAME_FOLDER
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
            detail = " ".join(str(error).split())
            raise UserError(f"the shapes of its weights do not match its {CONFIG} ({detail:.300})") from error
        write_config(model_cfg, preprocess, out_dir)
        store.write_weights(model, out_dir)
    except UserError as error:
        raise UserError(f"{folder}: cannot be read as a CLIPModel of transformers: {error}") from error


def _read_config(folder: Path) -> Any:
    """Return transformers' `CLIPConfig`, which adds the defaults that a stored config omits."""
    values = _read_json(folder / CONFIG)
    kind = values.get("model_type")
    if kind != "clip":
        raise UserError(
            f"its model_type is {kind}, not clip; another architecture (SigLIP, ChineseCLIP) can be used if its folder "
            f"or repository has an {OPEN_CLIP_CONFIG}, with {{kind: open_clip, model: 'hf-hub:ORGANISATION/NAME'}} or "
            "{kind: local, path: FOLDER}"
        )
    from transformers import CLIPConfig

    try:
        return CLIPConfig.from_dict(values)
    except Exception as error:  # transformers' validation errors have no common base class
        raise UserError(f"its {CONFIG} is not valid for transformers ({' '.join(str(error).split()):.300})") from error


def _model_cfg(config: Any) -> dict[str, Any]:
    """Return open_clip's config of the same architecture."""
    image, text = config.vision_config, config.text_config
    activations = {image.hidden_act, text.hidden_act}
    if activations not in ({"gelu"}, {"quick_gelu"}):
        names = " and ".join(sorted(activations))
        raise UserError(f"its towers use {names}; open_clip supports gelu in both towers or quick_gelu in both towers")
    if image.num_channels != 3:
        raise UserError(f"its images have {image.num_channels} channels; only 3 are supported")
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
    """Return the options of a tower's layers that differ from open_clip's defaults."""
    options: dict[str, Any] = {}
    if tower.intermediate_size != tower.hidden_size * MLP_RATIO:
        ratio = tower.intermediate_size / tower.hidden_size
        while int(tower.hidden_size * ratio) < tower.intermediate_size:  # open_clip truncates
            ratio = math.nextafter(ratio, math.inf)
        options["mlp_ratio"] = ratio
    if tower.layer_norm_eps != LAYER_NORM_EPS:
        options["norm_kwargs"] = {"eps": tower.layer_norm_eps}
    return options


def _pooling(text: Any) -> dict[str, Any]:
    """Return open_clip's options for pooling at the first end-of-text token, which has CLIP's highest token id."""
    if not isinstance(text.eos_token_id, int):
        raise UserError(f"its eos_token_id is {text.eos_token_id}; expected one number")
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
    """Return transformers' tokenizer of the model, or None if open_clip's tokenizer gives the same tokens."""
    if "tokenizer.json" not in files and not {"vocab.json", "merges.txt"} <= set(files):
        if text_cfg["vocab_size"] == tokens.SIZE:
            return None
        raise UserError(f"it has no tokenizer, and its vocabulary of {text_cfg['vocab_size']} tokens is not CLIP's")
    try:
        tokenizer = HFTokenizer(str(folder), context_length=text_cfg["context_length"], local_files_only=True)
    except Exception as error:  # damaged tokenizers raise errors of many classes
        raise UserError(f"its tokenizer cannot be loaded ({' '.join(str(error).split()):.300})") from error
    if tokens.is_clip_tokenizer(tokenizer.tokenizer):
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
            detail = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"its weights {name} cannot be read ({detail:.300})") from error
    if not state:
        raise UserError(f"it has no weights; expected {' or '.join(patterns[0] for patterns in WEIGHTS)}")
    # transformers before 4.31 stored the position indices as well.
    return {name: tensor for name, tensor in state.items() if not name.endswith(".position_ids")}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"it has no {path.name}") from None
    except ValueError as error:
        raise UserError(f"its {path.name} is not valid JSON ({error})") from error
    if not isinstance(values, dict):
        raise UserError(f"its {path.name} is not a JSON object")
    return values

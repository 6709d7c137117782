"""The format of model folders: open_clip's local-directory format. Reading it needs neither torch nor open_clip.

A model folder contains `open_clip_config.json` and `open_clip_model.safetensors`. If the text tower or tokenizer is
one of transformers, their files are in the same folder, and the config refers to them as ".", which `load` resolves.
`open_clip.create_model("local-dir:.")` loads the folder if it is the working directory.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fclip.errors import UserError
from fclip.files import write_json
from fclip.models.preprocess import Preprocess

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
WEIGHT_SUFFIXES = {".safetensors", ".bin", ".pth", ".pt", ".npz", ".msgpack", ".h5", ".onnx"}
SAME_FOLDER = "."
IMAGE_TOWER = "visual."
"""With this, the names of the tensors of the image tower begin."""
CARD = "README.md"
DEFAULT_CONTEXT_LENGTH = 77


def read_config(folder: Path) -> dict[str, Any]:
    """Return the config of a model folder; raises UserError if it is missing or invalid."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected an open_clip model folder")
    try:
        stored = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{folder}: not an open_clip model folder, since it has no {CONFIG}") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{folder / CONFIG}: not valid JSON ({error})") from error
    if not isinstance(stored, dict) or not {"text_cfg", "vision_cfg"} <= set(stored.get("model_cfg") or ()):
        raise UserError(f"{folder / CONFIG}: not a model config; expected model_cfg with vision_cfg and text_cfg")
    return stored


def write_config(model_cfg: dict[str, Any], preprocess: Preprocess, out_dir: Path) -> None:
    """Write `open_clip_config.json`. As in open_clip, the image size is part of `model_cfg`."""
    preprocess_cfg = {key: value for key, value in asdict(preprocess).items() if key != "size"}
    write_json(out_dir / CONFIG, {"model_cfg": model_cfg, "preprocess_cfg": preprocess_cfg})


def context_length(text_cfg: Mapping[str, Any]) -> int:
    """Return the number of tokens that the text tower reads."""
    return int(text_cfg.get("context_length", DEFAULT_CONTEXT_LENGTH))

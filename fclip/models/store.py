"""Loading and saving of models in model folders (`fclip.models.folder`), offline."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from safetensors import SafetensorError

from fclip.errors import UserError
from fclip.files import write_json
from fclip.models.digests import architecture_sha256, model_sha256
from fclip.models.folder import SAME_FOLDER, WEIGHT_SUFFIXES, WEIGHTS, context_length, read_config, write_config
from fclip.models.mixtures import MIXTURE, mixture_parts
from fclip.models.preprocess import Preprocess
from fclip.models.weights import open_weights, write_state

Tokenizer = Callable[[list[str]], torch.Tensor]


@dataclass(frozen=True)
class Clip:
    """A loaded model with its tokenizer and preprocessing.

    Attributes:
        model: open_clip's CLIP or CustomTextCLIP, float32, in eval mode.
        tokenizer: list of texts -> int64 [n, context_length].
        model_sha256: digest of its folder (`model_sha256`).
        architecture_sha256: digest of its folder without the weights (`architecture_sha256`).
        path: its folder.
    """

    model: torch.nn.Module
    tokenizer: Tokenizer
    preprocess: Preprocess
    context_length: int
    model_sha256: str
    architecture_sha256: str
    path: Path

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.model.parameters()).device

    def tokenize(self, texts: list[str], *, multiple_of: int = 1) -> torch.Tensor:
        """Tokenise texts to int64 [n, length]. If the text tower masks padding, truncate to the longest text.

        The features equal those of the full context up to rounding, with less computation.

        Args:
            multiple_of: round the length up to a multiple of it, but not beyond the context length.
        """
        tokens = self.tokenizer(texts)
        padding = padding_id_if_masked(self.model)
        if padding is None or not len(tokens):
            return tokens
        longest = int((tokens != padding).sum(dim=1).max())
        return tokens[:, : -(-max(longest, 1) // multiple_of) * multiple_of]


def load(folder: Path, *, device: str | torch.device = "cpu", reuse: Clip | None = None) -> Clip:
    """Load a model folder in float32 and eval mode. It is loaded offline if the config names only local files.

    Args:
        reuse: a loaded model that is no longer needed. If it has the same architecture, its weights are replaced, which
            is many times as fast as creating a model.

    Raises:
        UserError: the folder, its config or its weights are missing, damaged or inconsistent.
    """
    stored = read_config(folder)
    if reuse and reuse.device == torch.device(device) and (clip := _with_weights_of(folder, reuse)):
        return clip
    if parts := mixture_parts(folder):
        if clip := _with_weights_of(folder, load(parts[-1].folder, device=device)):
            return clip
        raise UserError(f"{folder}: a model that it averages has changed; run the stage `average` again")
    model_cfg = _resolved(stored["model_cfg"], folder)
    if not any(path.suffix in (".safetensors", ".bin", ".pth") for path in folder.iterdir()):
        raise UserError(f"{folder}: no weights found; expected {WEIGHTS}")
    try:
        with quiet():
            model = open_clip.create_model(
                f"local-dir:{folder}", text_cfg=model_cfg["text_cfg"], device=torch.device(device), weights_only=True
            )
    except (AssertionError, RuntimeError, ValueError, OSError, TypeError, KeyError, SafetensorError) as error:
        raise UserError(f"{folder}: cannot be loaded as an open_clip model: {_first_line(error)}") from error
    model.eval()
    return Clip(
        model=model,
        tokenizer=_tokenizer(model_cfg["text_cfg"]),
        preprocess=preprocess_of(model),
        context_length=context_length(model_cfg["text_cfg"]),
        model_sha256=model_sha256(folder),
        architecture_sha256=architecture_sha256(folder),
        path=folder,
    )


def _with_weights_of(folder: Path, clip: Clip) -> Clip | None:
    """Replace the weights of `clip`, in place; None if it has another architecture than `folder`."""
    if not (folder / WEIGHTS).is_file() and not mixture_parts(folder):
        return None
    if architecture_sha256(folder) != clip.architecture_sha256:
        return None
    with open_weights(folder) as weights:
        expected = {name: tensor.shape for name, tensor in clip.model.state_dict().items()}
        state = {name: weights.get_tensor(name) for name in weights.keys()}  # noqa: SIM118
        if {name: tensor.shape for name, tensor in state.items()} != expected:
            return None
        clip.model.load_state_dict(state)
    return replace(clip, model_sha256=model_sha256(folder), path=folder)


class ModelLoader:
    """Loads models one after the other. Models of one architecture use the same modules in turn."""

    def __init__(self) -> None:
        self._last: Clip | None = None

    def load(self, folder: Path, *, device: str | torch.device = "cpu") -> Clip:
        """Return the same as `load`. The model that was returned before must not be used any more.

        Raises:
            UserError: as for `load`.
        """
        self._last = load(folder, device=device, reuse=self._last)
        return self._last


def load_tokenizer(folder: Path) -> Tokenizer:
    """Load the tokenizer of a model folder without its weights: list of texts -> int64 [n, context_length].

    Raises:
        UserError: the folder or its config is missing or invalid.
    """
    return _tokenizer(_resolved(read_config(folder)["model_cfg"], folder)["text_cfg"])


def save(state: Mapping[str, torch.Tensor], *, config_from: Path, out_dir: Path) -> None:
    """Write a model's weights to `out_dir` (existing and empty), with the config and other files of `config_from`.

    Equal weights give equal bytes, regardless of device and memory format.
    """
    for file in sorted(config_from.iterdir()):
        if file.is_file() and file.suffix not in WEIGHT_SUFFIXES and file.name != MIXTURE:
            (out_dir / file.name).write_bytes(file.read_bytes())
    write_state(state, out_dir)


def write_weights(model: torch.nn.Module, out_dir: Path) -> None:
    """Write the model's state to `out_dir` as safetensors."""
    write_state(model.state_dict(), out_dir)


def write_model(model: torch.nn.Module, model_cfg: dict[str, Any], tokenizer: Tokenizer, out_dir: Path) -> None:
    """Write a model to `out_dir` (existing and empty) with everything for loading it, including transformers' files."""
    text_cfg = dict(model_cfg["text_cfg"])
    if text_cfg.get("hf_model_name"):
        text_tower: Any = model.text
        text_tower.config.save_pretrained(out_dir)
        text_cfg["hf_model_name"] = SAME_FOLDER
    if isinstance(tokenizer, HFTokenizer):
        write_tokenizer(tokenizer, out_dir)
        text_cfg["hf_tokenizer_name"] = SAME_FOLDER
    write_config({**model_cfg, "text_cfg": text_cfg}, preprocess_of(model), out_dir)
    write_weights(model, out_dir)


def write_tokenizer(tokenizer: HFTokenizer, out_dir: Path) -> None:
    """Write the files of a transformers tokenizer, without the path that it was loaded from."""
    tokenizer.save_pretrained(out_dir)
    file = out_dir / "tokenizer_config.json"
    if file.is_file():
        values = json.loads(file.read_text(encoding="utf-8"))
        kept = {key: value for key, value in values.items() if key not in ("name_or_path", "local_files_only")}
        write_json(file, kept)


def preprocess_of(model: torch.nn.Module) -> Preprocess:
    """Return the preprocessing that open_clip attached to `model`; raises UserError if the input is not square."""
    visual: Any = model.visual
    stored = visual.preprocess_cfg
    size = stored["size"]
    height, width = (size, size) if isinstance(size, int) else tuple(size)
    if height != width:
        raise UserError(f"the model has an input of {height} by {width} pixels; only square inputs are supported")
    return Preprocess(
        size=int(height),
        mean=_three(stored["mean"]),
        std=_three(stored["std"]),
        # "random" applies to open_clip's training only; its inference transform then uses bicubic.
        interpolation="bilinear" if stored["interpolation"] == "bilinear" else "bicubic",
        resize_mode=stored["resize_mode"],
        fill_color=int(stored.get("fill_color", 0)),
    )


def _three(value: Any) -> tuple[float, float, float]:
    first, second, third = value if isinstance(value, (list, tuple)) else (value,) * 3
    return float(first), float(second), float(third)


def _resolved(model_cfg: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return `model_cfg` with paths inside `folder` made absolute. Names of hub repositories are kept."""
    resolved = deepcopy(model_cfg)
    text_cfg = resolved["text_cfg"]
    for key in ("hf_model_name", "hf_tokenizer_name"):
        name = text_cfg.get(key)
        if name and (folder / name).is_dir():
            text_cfg[key] = str((folder / name).resolve())
    if text_cfg.get("hf_model_name"):
        text_cfg["hf_model_pretrained"] = False  # the weights of the whole model are loaded later
    return resolved


def _tokenizer(text_cfg: dict[str, Any]) -> Tokenizer:
    options = dict(text_cfg.get("tokenizer_kwargs") or {})
    name = text_cfg.get("hf_tokenizer_name")
    if not name:
        return SimpleTokenizer(context_length=context_length(text_cfg), **options)
    if Path(name).is_absolute():
        options["local_files_only"] = True
    try:
        return HFTokenizer(
            name, context_length=context_length(text_cfg), tokenizer_mode=text_cfg.get("tokenizer_mode"), **options
        )
    except (OSError, ValueError) as error:
        raise UserError(f"the tokenizer {name} cannot be loaded: {_first_line(error)}") from error


def padding_id_if_masked(model: torch.nn.Module) -> int | None:
    # Only transformers' towers mask padding. open_clip's own towers require the full context.
    config = getattr(getattr(model, "text", None), "config", None)
    padding = getattr(config, "pad_token_id", None)
    return None if padding is None else int(padding)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__


@contextmanager
def quiet() -> Iterator[None]:
    """Context that suppresses warnings, and open_clip's log records below the level of an error."""
    root = logging.getLogger()
    root.addFilter(_not_open_clip)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeFilter(_not_open_clip)


def _not_open_clip(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR or "open_clip" not in record.pathname

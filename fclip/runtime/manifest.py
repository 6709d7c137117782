"""The manifest of a model for the runtime: `runtime.json`, beside two ONNX graphs and the weights.

A runtime folder has these files:

    runtime.json                     this manifest
    image.onnx, text.onnx            graphs; their weights are external data in the safetensors file
    open_clip_model.safetensors      the weights, once, for the graphs and for open_clip
    tokenizer.json                   the tokenizer, as the library `tokenizers` reads it

Any ONNX runtime loads the graphs from there. `image.onnx` takes `pixel_values`, float32 [batch, 3, size, size];
`text.onnx` takes `input_ids`, int64 [batch, length], and masks padding itself. Both give `embeddings`, float32
[batch, dim], L2-normalised, and `features`, the same before normalisation.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from fclip.errors import UserError
from fclip.files import read_json, write_json
from fclip.models.preprocess import Preprocess

MANIFEST = "runtime.json"
IMAGE_GRAPH, TEXT_GRAPH = "image.onnx", "text.onnx"
TOKENIZER = "tokenizer.json"
FORMAT = 1
RUNTIME_FILES = (MANIFEST, IMAGE_GRAPH, TEXT_GRAPH)
Cleaning = Literal["whitespace", "lower", "canonicalize"]


@dataclass(frozen=True)
class TextInput:
    """How a text becomes tokens.

    Attributes:
        context_length: largest number of tokens, including the special ones; longer texts are truncated.
        pad_id: the token that fills shorter texts.
        is_fixed_length: whether every text must be filled to `context_length`; otherwise to the longest of the batch.
        cleaning: open_clip's name of what is done to the characters first.
    """

    context_length: int
    pad_id: int
    is_fixed_length: bool
    cleaning: Cleaning


@dataclass(frozen=True)
class Manifest:
    """What the runtime knows of a model.

    Attributes:
        model_sha256: digest of the model folder that was exported (`fclip.models.digests.model_sha256`).
        architecture_sha256: the same without the weights. Models of one architecture have equal graphs.
        weights: name of the safetensors file. weights_sha256: its digest.
        graphs: SHA-256 by name of graph.
        tokenizer_sha256: digest of tokenizer.json.
        dim: length of an embedding.
        logit_scale, logit_bias: a class has the logit `logit_scale · cosine + logit_bias`.
    """

    model_sha256: str
    architecture_sha256: str
    weights: str
    weights_sha256: str
    graphs: Mapping[str, str]
    tokenizer_sha256: str
    dim: int
    logit_scale: float
    logit_bias: float
    image: Preprocess
    text: TextInput


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write runtime.json to a folder."""
    write_json(folder / MANIFEST, {"format": FORMAT, **asdict(manifest)})


def read_manifest(folder: Path) -> Manifest:
    """Read runtime.json of a folder.

    Raises:
        UserError: it is missing, is not valid, or is of another format.
    """
    path = folder / MANIFEST
    try:
        values = read_json(path)
    except FileNotFoundError:
        raise UserError(f"{folder} has no {MANIFEST}; export the model with `fclip export onnx`") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not valid JSON ({error}); export the model again") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        found = values.get("format") if isinstance(values, dict) else None
        raise UserError(f"{path}: format {found} is not known, only {FORMAT}; export the model again")
    try:
        return _parse({name: value for name, value in values.items() if name != "format"})
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a valid manifest ({error}); export the model again") from error


def _parse(values: dict[str, Any]) -> Manifest:
    image, text = dict(values.pop("image")), TextInput(**values.pop("text"))
    if text.cleaning not in get_args(Cleaning):
        raise ValueError(f"unknown cleaning {text.cleaning}")
    (red, green, blue), (red_std, green_std, blue_std) = image.pop("mean"), image.pop("std")
    preprocess = Preprocess(mean=(red, green, blue), std=(red_std, green_std, blue_std), **image)
    return Manifest(image=preprocess, text=text, **values)

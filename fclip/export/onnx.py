"""Export a model for the runtime: ONNX graphs, tokenizer, weights and manifest (`fclip.runtime.manifest`)."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

from fclip.conversion import tokens
from fclip.errors import UserError
from fclip.export.graphs import add_weights, export_graphs, takes_any_length
from fclip.export.parity import Parity, ParityInputs, drawn_inputs, pipeline_embeddings, require_parity
from fclip.files import atomic_dir, sha256_file
from fclip.models import store
from fclip.models.folder import WEIGHTS, read_config
from fclip.runtime.loading import load
from fclip.runtime.manifest import IMAGE_GRAPH, TEXT_GRAPH, TOKENIZER, Manifest, TextInput, write_manifest
from fclip.runtime.safetensors import TensorEntry, read_entries
from fclip.runtime.tiny import FOLDER as TINY_FOLDER
from fclip.runtime.tiny import architecture

CLEANINGS = {"_clean_whitespace": "whitespace", "_clean_lower": "lower", "_clean_canonicalize": "canonicalize"}
FLOAT32, COUNTER = "F32", "I64"


def export_onnx(folder: Path, out_dir: Path, inputs: ParityInputs | None = None) -> Parity:
    """Write the model in `folder` to `out_dir` for the runtime. Existing content of `out_dir` is replaced.

    Args:
        inputs: images and texts of the parity check; None for drawn products.

    Returns:
        How closely the runtime agrees with the model.

    Raises:
        UserError: the model cannot be loaded or exported, or the runtime gives other embeddings. Nothing is written.
    """
    with atomic_dir(out_dir) as temporary:
        return write_runtime_folder(store.load(folder), temporary, inputs)


def write_runtime_folder(clip: store.Clip, out_dir: Path, inputs: ParityInputs | None = None) -> Parity:
    """Write the files of `export_onnx` to the existing folder `out_dir`; the rest is as there."""
    inputs = inputs or drawn_inputs()
    reference_images, reference_texts = pipeline_embeddings(clip, inputs)
    write_weights(clip, out_dir)
    add_runtime_files(clip, out_dir, _graphs(clip))
    model = load(out_dir)
    images, texts = model.embed_images(inputs.images), model.embed_texts(inputs.all_texts)
    return require_parity(reference_images, reference_texts, images, texts, inputs, export=f"{clip.path} as ONNX")


def write_weights(clip: store.Clip, out_dir: Path) -> None:
    """Write the weights of a model as float32 safetensors with open_clip's names; copy the model's file if it is so."""
    stored = clip.path / WEIGHTS
    if stored.is_file() and _matches(clip, read_entries(stored)):
        shutil.copyfile(stored, out_dir / WEIGHTS)
    else:
        store.write_weights(clip.model, out_dir)


def _matches(clip: store.Clip, entries: dict[str, TensorEntry]) -> bool:
    expected = {name: tuple(tensor.shape) for name, tensor in clip.model.state_dict().items()}
    found = {name: entry.shape for name, entry in entries.items()}
    return found == expected and {entry.dtype for entry in entries.values()} <= {FLOAT32, COUNTER}


def add_runtime_files(clip: store.Clip, folder: Path, graphs: Mapping[str, onnx.ModelProto]) -> None:
    """Write graphs, tokenizer and manifest to a folder that contains the weights (`write_weights`)."""
    entries = read_entries(folder / WEIGHTS)
    digests = {}
    for name, graph in graphs.items():
        onnx.save(add_weights(graph, WEIGHTS, entries), folder / name)
        digests[name] = sha256_file(folder / name)
    if not (folder / TOKENIZER).is_file():
        (folder / TOKENIZER).write_bytes(tokenizer_json(clip))
    state = clip.model.state_dict()
    manifest = Manifest(
        model_sha256=clip.model_sha256,
        architecture_sha256=clip.architecture_sha256,
        weights=WEIGHTS,
        weights_sha256=sha256_file(folder / WEIGHTS),
        graphs=digests,
        tokenizer_sha256=sha256_file(folder / TOKENIZER),
        dim=read_config(clip.path)["model_cfg"]["embed_dim"],
        logit_scale=float(state["logit_scale"].exp()) if "logit_scale" in state else 1.0,
        logit_bias=float(state["logit_bias"]) if "logit_bias" in state else 0.0,
        image=clip.preprocess,
        text=text_input(clip),
    )
    write_manifest(manifest, folder)


def _graphs(clip: store.Clip) -> dict[str, onnx.ModelProto]:
    """Return the graphs of a model: those of this package if they fit, because an export takes many seconds."""
    if clip.architecture_sha256 == architecture():
        return {name: onnx.load(TINY_FOLDER / name, load_external_data=False) for name in (IMAGE_GRAPH, TEXT_GRAPH)}
    return export_graphs(clip)


def text_input(clip: store.Clip) -> TextInput:
    """Return how the model's tokenizer treats a text; raises UserError if the runtime cannot do the same."""
    tokenizer: Any = clip.tokenizer
    cleaning = CLEANINGS.get(getattr(tokenizer.clean_fn, "__name__", ""))
    options = [name for name in ("tokenizer_mode", "strip_sep_token", "reduction_fn") if getattr(tokenizer, name, None)]
    if cleaning is None or options:
        raise UserError(f"{clip.path}: its tokenizer has the option {(options or ['clean'])[0]}, which has no export")
    is_transformers = isinstance(tokenizer, HFTokenizer)
    return TextInput(
        context_length=clip.context_length,
        pad_id=int(tokenizer.tokenizer.pad_token_id) if is_transformers else 0,
        is_fixed_length=not takes_any_length(clip),
        cleaning=cleaning,  # type: ignore[arg-type]
    )


def tokenizer_json(clip: store.Clip) -> bytes:
    """Return the content of tokenizer.json of a model; raises UserError if its tokenizer has no such form."""
    if isinstance(clip.tokenizer, SimpleTokenizer):
        inner = tokens.clip_tokenizer(clip.context_length)
    else:
        inner = getattr(clip.tokenizer, "tokenizer", None)
    backend = getattr(inner, "backend_tokenizer", None)
    if backend is None:
        raise UserError(f"{clip.path}: its tokenizer cannot be written as {TOKENIZER}; a fast tokenizer is needed")
    return str(backend.to_str()).encode()

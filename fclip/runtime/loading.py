"""Load a model into the runtime by name or folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from fclip.errors import UserError
from fclip.files import sha256_file
from fclip.models.digests import architecture_sha256
from fclip.models.folder import CONFIG, WEIGHTS
from fclip.runtime import tiny
from fclip.runtime.manifest import MANIFEST, TOKENIZER, read_manifest
from fclip.runtime.model import Model
from fclip.runtime.parts import Parts


def load(model: str | Path, *, num_threads: int | None = None) -> Model:
    """Load a model. Digests of its files are verified.

    Args:
        model: "fclip-tiny"; a folder that `fclip export onnx` wrote; or a model folder of fclip-tiny's architecture,
            such as `models/selected` of a workspace that fine-tunes it.
        num_threads: threads of onnxruntime; None for one per core.

    Raises:
        UserError: there is no such model, it has not been exported, or a file is damaged.
    """
    return Model(_parts(model), num_threads=num_threads)


def can_load(folder: Path) -> bool:
    """Whether `load` accepts the folder as it is, without an export."""
    return (folder / MANIFEST).is_file() or _is_like_tiny(folder)


def _parts(model: str | Path) -> Parts:
    folder = Path(model)
    if str(model) == tiny.NAME and not folder.is_dir():
        return tiny.fclip_tiny_parts()
    if (folder / MANIFEST).is_file():
        return _folder_parts(folder)
    if _is_like_tiny(folder):
        return tiny.same_architecture_parts(folder)
    if (folder / CONFIG).is_file():
        raise UserError(f"{folder} has no ONNX graphs; write them with `fclip export onnx {folder} OUT`, and use OUT")
    raise UserError(f"{model} is not a model; use `{tiny.NAME}` or a folder that `fclip export onnx` wrote")


def _is_like_tiny(folder: Path) -> bool:
    has_files = (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file()
    return has_files and architecture_sha256(folder) == tiny.architecture()


def _folder_parts(folder: Path) -> Parts:
    manifest = read_manifest(folder)
    _verify(folder / manifest.weights, manifest.weights_sha256)

    def graph(name: str) -> Path:
        if name not in manifest.graphs:
            raise UserError(f"{folder} has no {name}; export the model again")
        return _verify(folder / name, manifest.graphs[name])

    def no_weights(graph: str) -> Mapping[str, NDArray[Any]] | None:
        return None  # the graphs of a folder name their weights as external data

    def tokenizer() -> bytes:
        return _verify(folder / TOKENIZER, manifest.tokenizer_sha256).read_bytes()

    return Parts(manifest, graph, no_weights, tokenizer)


def _verify(path: Path, sha256: str) -> Path:
    try:
        found = sha256_file(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); fetch or export the model again") from error
    if found != sha256:
        raise UserError(f"{path} has the digest {found[:12]}, not {sha256[:12]}; fetch or export the model again")
    return path

"""fclip-tiny in the runtime: the graphs of this package with weights that are stored elsewhere already.

The tensors that training changed are in `changes.safetensors`, the other ones in the package of the text tower. The
graphs fit every model of the same architecture, such as all models that are fine-tuned from fclip-tiny.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fclip
from fclip.base_models.text_package import WEIGHTS as TEXT_WEIGHTS
from fclip.base_models.text_package import read_text_package
from fclip.models.digests import model_sha256
from fclip.models.folder import WEIGHTS
from fclip.runtime.manifest import IMAGE_GRAPH, TOKENIZER, Manifest, read_manifest
from fclip.runtime.parts import Parts
from fclip.runtime.safetensors import read_tensors

NAME = "fclip-tiny"
FOLDER = Path(fclip.__path__[0]) / "base_models" / "fclip_tiny_model"
CHANGES = FOLDER / "changes.safetensors"
IMAGE_TENSORS, TEXT_TENSORS, TRANSFORMER = "visual.", "text.", "text.transformer."
NOT_IN_GRAPH = {
    f"{TRANSFORMER}{name}" for name in ("pooler.dense.weight", "pooler.dense.bias", "embeddings.position_ids")
}
COUNTERS = ".num_batches_tracked"  # of batch norms; no graph has them
LOGIT_SCALE = "logit_scale"


def fclip_tiny_parts() -> Parts:
    """Return the parts of fclip-tiny. The text tower's package is needed, and perhaps downloaded, for texts only."""

    def weights(graph: str) -> Mapping[str, NDArray[Any]]:
        changed = _tensors_of(graph, read_tensors(CHANGES))
        if graph == IMAGE_GRAPH:
            return changed
        content = read_text_package((TEXT_WEIGHTS,))[TEXT_WEIGHTS]
        tower = {f"{TRANSFORMER}{name}": tensor for name, tensor in read_tensors(content).items()}
        return {name: tensor for name, tensor in {**tower, **changed}.items() if name not in NOT_IN_GRAPH}

    return Parts(read_manifest(FOLDER), _graph, weights, lambda: read_text_package((TOKENIZER,))[TOKENIZER])


def same_architecture_parts(folder: Path) -> Parts:
    """Return the parts of a model folder that has the architecture of fclip-tiny."""
    tensors = read_tensors(folder / WEIGHTS)
    manifest: Manifest = replace(
        read_manifest(FOLDER),
        model_sha256=model_sha256(folder),
        weights=WEIGHTS,
        logit_scale=float(np.exp(tensors[LOGIT_SCALE])),
    )
    return Parts(manifest, _graph, lambda graph: _tensors_of(graph, tensors), lambda: (folder / TOKENIZER).read_bytes())


@cache
def architecture() -> str:
    """Return the digest of the architecture of fclip-tiny (`fclip.models.digests.architecture_sha256`)."""
    return read_manifest(FOLDER).architecture_sha256


def _graph(name: str) -> bytes:
    return (FOLDER / name).read_bytes()  # not the path, beside which onnxruntime would look for the weights


def _tensors_of(graph: str, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    prefix = IMAGE_TENSORS if graph == IMAGE_GRAPH else TEXT_TENSORS
    return {name: each for name, each in tensors.items() if name.startswith(prefix) and not name.endswith(COUNTERS)}

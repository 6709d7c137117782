"""fclip-tiny: a small CLIP for fashion that is included in this package and composed offline.

This project's pipeline trained it from `towers` (`params/fclip-tiny.yaml`; `make fclip-tiny` repeats the training).
`fclip_tiny_model/` contains the image tower and the text tensors that training changed, with matrices in bfloat16; the
graphs for the runtime, without weights; and the model card with data, licences, scores and limits. The rest of the text
tower comes from a pip package of `towers`.

python -m fclip.base_models.fclip_tiny MODEL_DIR    write the tensors and graphs of a trained model into the package
"""

import argparse
import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from fclip.base_models import towers
from fclip.base_models.registry import BaseModel, Origin, WriteRequest
from fclip.base_models.towers import TowersConfig
from fclip.config import config
from fclip.errors import UserError
from fclip.files import atomic_path, sha256_file
from fclip.models.folder import WEIGHTS, read_config
from fclip.runtime.manifest import IMAGE_GRAPH, MANIFEST, TEXT_GRAPH
from fclip.runtime.tiny import CHANGES, COUNTERS, FOLDER, IMAGE_TENSORS

START = "start"
"""Field in the metadata of the tensors: the config of the `towers` that they change."""


@config
class FclipTinyConfig:
    """The small CLIP model in this package: `towers`, fine-tuned on fashion products."""

    kind: Literal["fclip-tiny"]


def compose(out_dir: Path, changes: Path = CHANGES) -> dict[str, str]:
    """Write the model to `out_dir` (existing and empty); return the digests of its sources.

    The result has the same bytes on every machine.

    Raises:
        UserError: a package of `towers` is missing or has a different version.
    """
    from safetensors import safe_open
    from safetensors.torch import load_file

    from fclip.models import store

    with safe_open(changes, "pt") as file:
        base_model = TowersConfig(**json.loads(file.metadata()[START]))
        changed = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    with tempfile.TemporaryDirectory(dir=out_dir.parent, prefix=".towers-") as folder:
        join = not set(towers.PROJECTIONS) <= changed.keys()  # else training has replaced them
        sources = towers.compose(base_model, Path(folder), join=join)
        state = load_file(Path(folder) / WEIGHTS)
        state.update({name: tensor.to(state[name].dtype) for name, tensor in changed.items()})
        store.save(state, config_from=Path(folder), out_dir=out_dir)
    return {**sources, "fclip-tiny": sha256_file(changes)}


def write_changes(model_dir: Path, changes: Path = CHANGES) -> int:
    """Write the image tower of `model_dir`, and the text tensors that differ from the `towers` it was trained from.

    Returns:
        The number of tensors.

    Raises:
        UserError: the folder contains no model, or one that was not trained from `towers`.
    """
    import torch
    from safetensors.torch import load_file, save_file

    config = read_towers_config(model_dir)
    with tempfile.TemporaryDirectory() as folder:
        towers.compose(config, Path(folder))
        base_model = load_file(Path(folder) / WEIGHTS)
    changed = {
        # Vectors stay in float32: they are small, and batch statistics need the precision.
        name: tensor.to(torch.bfloat16) if tensor.ndim > 1 else tensor
        for name, tensor in load_file(model_dir / WEIGHTS).items()
        if (name.startswith(IMAGE_TENSORS) and not name.endswith(COUNTERS)) or not torch.equal(tensor, base_model[name])
    }
    with atomic_path(changes) as path:
        save_file(changed, path, metadata={START: json.dumps(asdict(config))})
    return len(changed)


def write_graphs(folder: Path = FOLDER) -> None:
    """Write the ONNX graphs and the manifest of fclip-tiny into the package, after `write_changes`."""
    from fclip.export.onnx import add_runtime_files, write_weights
    from fclip.models.store import load

    with tempfile.TemporaryDirectory() as work:
        composed, exported = Path(work) / "composed", Path(work) / "exported"
        composed.mkdir()
        exported.mkdir()
        compose(composed)
        clip = load(composed)
        write_weights(clip, exported)
        add_runtime_files(clip, exported)
        for name in (IMAGE_GRAPH, TEXT_GRAPH, MANIFEST):
            shutil.copyfile(exported / name, folder / name)


def read_towers_config(model_dir: Path) -> TowersConfig:
    """Return the config of the `towers` that a model was trained from; raises UserError for another base model."""
    stored = read_config(model_dir)
    vision, text = stored["model_cfg"]["vision_cfg"], stored["model_cfg"]["text_cfg"]
    try:
        base_model = TowersConfig(
            kind="towers",
            image_size=vision["image_size"],
            context_length=text["context_length"],
            image_tower=vision["timm_model_name"].removeprefix(towers.TIMM_PREFIX),
            resize_mode=stored["preprocess_cfg"]["resize_mode"],
        )
    except (ValueError, TypeError, KeyError):
        base_model = None
    if base_model is None or towers.model_cfg(base_model) != stored["model_cfg"]:
        raise UserError(f"{model_dir}: not trained from `towers`, which fclip-tiny requires")
    return base_model


def write(config: FclipTinyConfig, request: WriteRequest) -> Origin:
    """Compose the model."""
    return Origin(compose(request.out_dir))


def _state(config: FclipTinyConfig, root: Path) -> Any:
    return towers.package_files()  # this package's own files are part of the code


def _from_name(name: str) -> FclipTinyConfig | None:
    return FclipTinyConfig(kind="fclip-tiny") if name == "fclip-tiny" else None


FCLIP_TINY = BaseModel(
    kind="fclip-tiny",
    label="fclip-tiny",
    description="The small CLIP that is included in this package, trained on a public fashion catalog.",
    config=FclipTinyConfig,
    write=write,
    state=_state,
    name_form="fclip-tiny",
    from_name=_from_name,
)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m fclip.base_models.fclip_tiny",
        description="Write the tensors and graphs of a trained model into the package.",
    )
    parser.add_argument("model_dir", type=Path, help="an open_clip model folder that was trained from `towers`")
    arguments = parser.parse_args()
    try:
        num_tensors = write_changes(arguments.model_dir)
    except UserError as error:
        parser.exit(1, f"{error}\n")
    write_graphs()
    print(f"Wrote the graphs and {num_tensors} tensors ({CHANGES.stat().st_size / 1e6:.1f} MB) to {CHANGES}")


if __name__ == "__main__":
    main()

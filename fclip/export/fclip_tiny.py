"""Write a trained model into this package as fclip-tiny.

python -m fclip.export.fclip_tiny MODEL_DIR
"""

import argparse
import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from fclip.base_models import towers
from fclip.base_models.fclip_tiny import CHANGES, START, compose
from fclip.base_models.towers import TowersConfig
from fclip.errors import UserError
from fclip.export.graphs import export_graphs
from fclip.export.onnx import add_runtime_files, write_weights
from fclip.files import atomic_path
from fclip.models.folder import WEIGHTS, read_config
from fclip.models.store import load
from fclip.runtime.manifest import IMAGE_GRAPH, MANIFEST, TEXT_GRAPH
from fclip.runtime.tiny import COUNTERS, FOLDER, IMAGE_TENSORS


def write_changes(model_dir: Path, changes: Path = CHANGES) -> int:
    """Write the image tower of `model_dir`, and the text tensors that differ from the `towers` it was trained from.

    Returns:
        The number of tensors.

    Raises:
        UserError: the folder contains no model, or one that was not trained from `towers`.
    """
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
    with tempfile.TemporaryDirectory() as work:
        composed, exported = Path(work) / "composed", Path(work) / "exported"
        composed.mkdir()
        exported.mkdir()
        compose(composed)
        clip = load(composed)
        write_weights(clip, exported)
        add_runtime_files(clip, exported, export_graphs(clip))
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


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m fclip.export.fclip_tiny",
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

"""fclip-tiny: a small CLIP for fashion that is included in this package and composed offline.

This project's pipeline trained it from `towers` (`params/fclip-tiny.yaml`; `make fclip-tiny` repeats the training).
`fclip_tiny_model/` contains the tensors that training changed, with matrices in bfloat16, and the model card with data,
licences, scores and limits. The other tensors, mainly the text tower, come from the pip packages of `towers`.

python -m fclip.base_models.fclip_tiny MODEL_DIR    write the changed tensors of a trained model into the package
"""

import argparse
import json
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

CHANGES = Path(__file__).parent / "fclip_tiny_model" / "changes.safetensors"
"""The changed tensors by name. The metadata field `start` is the config of the `towers` that they change."""


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
        base_model = TowersConfig(**json.loads(file.metadata()["start"]))
        changed = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    with tempfile.TemporaryDirectory(dir=out_dir.parent, prefix=".towers-") as folder:
        join = not set(towers.PROJECTIONS) <= changed.keys()  # else training has replaced them
        sources = towers.compose(base_model, Path(folder), join=join)
        state = load_file(Path(folder) / WEIGHTS)
        state.update({name: tensor.to(state[name].dtype) for name, tensor in changed.items()})
        store.save(state, config_from=Path(folder), out_dir=out_dir)
    return {**sources, "fclip-tiny": sha256_file(changes)}


def write_changes(model_dir: Path, changes: Path = CHANGES) -> int:
    """Write the tensors that differ between `model_dir` and the `towers` it was trained from; return their number.

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
        if not torch.equal(tensor, base_model[name])
    }
    with atomic_path(changes) as path:
        save_file(changed, path, metadata={"start": json.dumps(asdict(config))})
    return len(changed)


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
        description="Write the changed tensors of a trained model into the package.",
    )
    parser.add_argument("model_dir", type=Path, help="an open_clip model folder that was trained from `towers`")
    arguments = parser.parse_args()
    try:
        num_tensors = write_changes(arguments.model_dir)
    except UserError as error:
        parser.exit(1, f"{error}\n")
    print(f"Wrote {num_tensors} tensors ({CHANGES.stat().st_size / 1e6:.1f} MB) to {CHANGES}")


if __name__ == "__main__":
    main()

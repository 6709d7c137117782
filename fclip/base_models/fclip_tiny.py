"""fclip-tiny: a small CLIP that already knows fashion, carried by this package and composed offline.

It was trained by this project's own pipeline from `towers` (`params/fclip-tiny.yaml`; `make fclip-tiny` does it again).
`fclip_tiny_model/` holds what training changed, matrices in bfloat16, and the card that states data, licences, scores
and limits. What it did not change, the text tower above all, comes from the packages of `towers`, by their digests.

python -m fclip.base_models.fclip_tiny MODEL_DIR    writes the changes of a trained model into the package
"""

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from fclip.base_models import towers
from fclip.base_models.registry import BaseModel, Origin, Request
from fclip.base_models.towers import TowersConfig
from fclip.config import config
from fclip.errors import UserError
from fclip.files import atomic_path, sha256_file

CHANGES = Path(__file__).parent / "fclip_tiny_model" / "changes.safetensors"
"""Tensors by name, and in its metadata the `start` that they change."""


@config
class FclipTinyConfig:
    """The small CLIP model in this package: `towers`, fine-tuned on fashion products."""

    kind: Literal["fclip-tiny"]


def compose(out_dir: Path, changes: Path = CHANGES) -> dict[str, str]:
    """Write the model to `out_dir` (existing and empty); returns the digests of what it was made from.

    Deterministic: the same bytes on every machine.

    Raises:
        UserError: a package of `towers` is missing or is another version.
    """
    from safetensors import safe_open
    from safetensors.torch import load_file

    from fclip.models import store

    with safe_open(changes, "pt") as file:
        base_model = TowersConfig(**json.loads(file.metadata()["start"]))
        changed = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    with tempfile.TemporaryDirectory(dir=out_dir.parent, prefix=".towers-") as folder:
        sources = towers.compose(base_model, Path(folder))
        state = load_file(Path(folder) / store.WEIGHTS)
        state.update({name: tensor.to(state[name].dtype) for name, tensor in changed.items()})
        store.save(state, config_from=Path(folder), out_dir=out_dir)
    return {**sources, "fclip-tiny": sha256_file(changes)}


def pack(model_dir: Path, changes: Path = CHANGES) -> int:
    """Write what `model_dir` has otherwise than the `towers` that it was trained from; returns the number of tensors.

    Raises:
        UserError: the folder holds no model, or one that was not trained from `towers`.
    """
    import torch
    from safetensors.torch import load_file, save_file

    from fclip.models import store

    config = towers_config_of(model_dir)
    with tempfile.TemporaryDirectory() as folder:
        towers.compose(config, Path(folder))
        base_model = load_file(Path(folder) / store.WEIGHTS)
    changed = {
        # Vectors, which are few and delicate (statistics of batches among them), stay as they are.
        name: tensor.to(torch.bfloat16) if tensor.ndim > 1 else tensor
        for name, tensor in load_file(model_dir / store.WEIGHTS).items()
        if not torch.equal(tensor, base_model[name])
    }
    with atomic_path(changes) as path:
        save_file(changed, path, metadata={"start": json.dumps(asdict(config))})
    return len(changed)


def towers_config_of(model_dir: Path) -> TowersConfig:
    """The `towers` that a model was trained from, by its config; raises UserError where it was another base model."""
    from fclip.models import store

    stored = store.read_config(model_dir)
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
        raise UserError(f"{model_dir} was not trained from `towers`: fclip-tiny is what training changed in them")
    return base_model


def write(config: FclipTinyConfig, request: Request) -> Origin:
    """Compose the model."""
    return Origin(compose(request.out_dir))


def _from_name(name: str) -> FclipTinyConfig | None:
    return FclipTinyConfig(kind="fclip-tiny") if name == "fclip-tiny" else None


FCLIP_TINY = BaseModel(
    kind="fclip-tiny",
    label="fclip-tiny",
    description="The small CLIP that this package carries, trained on a public catalog of fashion.",
    config=FclipTinyConfig,
    write=write,
    name_form="fclip-tiny",
    from_name=_from_name,
)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m fclip.base_models.fclip_tiny",
        description="Write the changes of a trained model into the package.",
    )
    parser.add_argument("model_dir", type=Path, help="an open_clip model folder, trained from `towers`")
    arguments = parser.parse_args()
    try:
        num_tensors = pack(arguments.model_dir)
    except UserError as error:
        parser.exit(1, f"{error}\n")
    print(f"{num_tensors} tensors, {CHANGES.stat().st_size / 1e6:.1f} MB, in {CHANGES}")


if __name__ == "__main__":
    main()

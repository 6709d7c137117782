"""fclip-tiny: a small CLIP for fashion that is included in this package and composed offline.

This project's pipeline trained it from `towers` (`params/fclip-tiny.yaml`; `make fclip-tiny` repeats the training).
`fclip_tiny_model/` contains the image tower and the text tensors that training changed, with matrices in bfloat16; the
graphs for the runtime, without weights; and the model card with data, licences, scores and limits. The rest of the text
tower comes from a pip package of `towers`.
`fclip.export.fclip_tiny` writes these files.
"""

import json
import tempfile
from pathlib import Path
from typing import Any, Literal

from fclip.base_models import towers
from fclip.base_models.registry import BaseModel, Origin, WriteRequest
from fclip.base_models.towers import TowersConfig
from fclip.config import config
from fclip.files import sha256_file
from fclip.models.folder import WEIGHTS

CHANGES = Path(__file__).parent / "fclip_tiny_model" / "changes.safetensors"
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

"""Base models from a folder in open_clip's local-directory format."""

from pathlib import Path
from typing import Any, Literal

from fclip.base_models.registry import BaseModel, Origin, WriteRequest
from fclip.config import config
from fclip.errors import UserError
from fclip.files import signatures
from fclip.models.folder import read_config
from fclip.models.mixtures import mixture_parts


@config
class LocalConfig:
    """A model folder in the local-directory form of open_clip."""

    kind: Literal["local"]
    path: str
    """The folder, absolute or relative to the workspace."""

    def __post_init__(self) -> None:
        if not self.path:
            raise ValueError("path must name a folder")


def write(config: LocalConfig, request: WriteRequest) -> Origin:
    """Copy the model, including files that its config refers to in other places."""
    from fclip.models import store

    source = request.root / config.path
    clip = store.load(source)
    store.write_model(clip.model, read_config(source)["model_cfg"], clip.tokenizer, request.out_dir)
    return Origin({"folder": clip.model_sha256})


def _state(config: LocalConfig, root: Path) -> Any:
    """The signatures of the folder's files, unless the config may refer to files in other places."""
    folder = root / config.path
    try:
        text_cfg = read_config(folder)["model_cfg"]["text_cfg"]
    except UserError:
        return None
    if {text_cfg.get("hf_model_name"), text_cfg.get("hf_tokenizer_name")} - {None, "."} or mixture_parts(folder):
        return None
    return signatures(path for path in folder.rglob("*") if path.is_file())


LOCAL = BaseModel(
    kind="local",
    label="local folder",
    description="A model folder in open_clip's local-directory format, such as a candidate of another workspace.",
    config=LocalConfig,
    write=write,
    state=_state,
    title_field="path",
    path_fields=("path",),
)

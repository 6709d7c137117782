"""Base models from a folder in open_clip's local-directory format."""

from typing import Literal

from fclip.base_models.registry import BaseModel, Origin, WriteRequest
from fclip.config import config


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
    store.write_model(clip.model, store.read_config(source)["model_cfg"], clip.tokenizer, request.out_dir)
    return Origin({"folder": clip.model_sha256})


LOCAL = BaseModel(
    kind="local",
    label="local folder",
    description="A model folder in open_clip's local-directory format, such as a candidate of another workspace.",
    config=LocalConfig,
    write=write,
    title_field="path",
    path_fields=("path",),
)

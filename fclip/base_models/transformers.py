"""Base models in transformers' format (`CLIPModel`), from a folder or from the Hugging Face hub."""

import re
from pathlib import Path
from typing import Literal

from fclip.base_models.open_clip import HUB_PREFIX
from fclip.base_models.registry import BaseModel, Origin, WriteRequest
from fclip.config import config
from fclip.errors import UserError
from fclip.files import sha256_file

HUB_REMEDY = "set `model` to a folder with a local copy of its files"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@config
class TransformersConfig:
    """A CLIP model in the form of transformers, such as FashionCLIP."""

    kind: Literal["transformers"]
    model: str
    """A folder, absolute or relative to the workspace, or `organisation/name` on the Hugging Face hub."""
    revision: str | None = None
    """Branch, tag or commit of a model on the hub; null: the newest at the time of pinning."""

    def __post_init__(self) -> None:
        if not self.model or self.model.startswith(HUB_PREFIX):
            raise ValueError("model must be a folder, or `organisation/name` of a model on the hub")


def write(config: TransformersConfig, request: WriteRequest) -> Origin:
    """Convert the model. From the hub, use the pinned commit, or else the newest commit of `revision`."""
    from fclip.conversion.from_transformers import import_clip, source_files

    folder = request.root / config.model
    commit = None
    if folder.is_dir():
        files = source_files(path.name for path in folder.iterdir())
    elif HUB_ID.fullmatch(config.model):
        if request.pinned and request.pinned.revision:
            commit, files = request.pinned.revision, tuple(request.pinned.sources)
        else:
            commit, present = _look_up(config.model, config.revision)
            files = source_files(present)
        folder = _fetch(config.model, files, commit)
    else:
        raise UserError(
            f"the base model {config.model} is neither a folder in {request.root} nor `organisation/name` on the hub"
        )
    import_clip(folder, files, request.out_dir)
    return Origin({name: sha256_file(folder / name) for name in files}, commit)


def _look_up(repo: str, revision: str | None) -> tuple[str, tuple[str, ...]]:
    """Return the newest commit, or that of `revision`, and the names of its files, without downloading them.

    Raises:
        UserError: the hub cannot be reached, or has no such model or revision.
    """
    from huggingface_hub import HfApi

    from fclip.mirror.hub import HUB_TIMEOUT_S, call_hub

    info = call_hub(
        f"model {repo}", lambda: HfApi().model_info(repo, revision=revision, timeout=HUB_TIMEOUT_S), remedy=HUB_REMEDY
    )
    return str(info.sha), tuple(sibling.rfilename for sibling in info.siblings or ())


def _fetch(repo: str, files: tuple[str, ...], revision: str) -> Path:
    """Return the folder in the hub's cache with these files of a commit. Missing files are downloaded.

    Raises:
        UserError: files are missing and cannot be downloaded.
    """
    from fclip.mirror.hub import fetch_snapshot

    def missing_files(folder: Path) -> list[str]:
        return [name for name in files if not (folder / name).is_file()]

    folder = fetch_snapshot(
        "model", repo, revision, files, is_complete=lambda folder: not missing_files(folder), remedy=HUB_REMEDY
    )
    if missing := missing_files(folder):
        raise UserError(f"model {repo}: the hub has no {missing[0]} at revision {revision}; run `fclip pin`")
    return folder


def _from_name(name: str) -> TransformersConfig | None:
    return TransformersConfig(kind="transformers", model=name) if HUB_ID.fullmatch(name) else None


TRANSFORMERS = BaseModel(
    kind="transformers",
    label="CLIP in transformers' format",
    description="A CLIP in transformers' format, such as FashionCLIP, from a folder or from the Hugging Face hub.",
    config=TransformersConfig,
    write=write,
    title_field="model",
    path_fields=("model",),
    name_form="organisation/name",
    from_name=_from_name,
)

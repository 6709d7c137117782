"""Base models in transformers' format (`CLIPModel`), from a folder or from the Hugging Face hub."""

import re
from pathlib import Path
from typing import Any, Literal

from fclip.base_models.hub import HUB_PREFIX, HUB_REMEDY, look_up, newest_commit
from fclip.base_models.registry import BaseModel, Origin, WriteRequest
from fclip.config import config
from fclip.errors import UserError
from fclip.files import sha256_file, signatures

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
            commit, present = look_up(config.model, config.revision)
            files = source_files(present)
        folder = _fetch(config.model, files, commit)
    else:
        raise UserError(
            f"the base model {config.model} is neither a folder in {request.root} nor `organisation/name` on the hub"
        )
    import_clip(folder, files, request.out_dir)
    return Origin({name: sha256_file(folder / name) for name in files}, commit)


def _state(config: TransformersConfig, root: Path) -> Any:
    folder = root / config.model
    if folder.is_dir():
        return signatures(path for path in folder.rglob("*") if path.is_file())
    return newest_commit(config.model, config.revision) if HUB_ID.fullmatch(config.model) else None


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
    state=_state,
    title_field="model",
    path_fields=("model",),
    name_form="organisation/name",
    from_name=_from_name,
)

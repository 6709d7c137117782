"""Starts: fetch what fine-tuning starts from, once, into a cache keyed by its digest, and pin where it came from.

A pin is `{"kind", "from", "sources": {name: sha256}, "model_sha256", …}`; `model_sha256` is the identity of the
folder `cache_dir/<model_sha256>/` in open_clip's local-directory form. What is read from the hub in transformers' form
has a `revision` too, the commit. The champion as a start is the registry's, and none of these (`tasks.start`).
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.tokenizer import HFTokenizer

from fclip.errors import UserError
from fclip.files import sha256_file
from fclip.models import hub, store, tiny, towers
from fclip.models.config import (
    HUB_ID,
    HUB_PREFIX,
    ColdStart,
    FclipTinyStart,
    LocalStart,
    OpenClipStart,
    TowersStart,
    TransformersStart,
)
from fclip.models.from_transformers import import_clip, source_files
from fclip.models.quiet import quiet


def describe_start(config: ColdStart, *, root: Path, cache_dir: Path) -> dict[str, Any]:
    """Fetch the start into `cache_dir/<model_sha256>/` and return what pins it.

    Args:
        root: what the path of a folder in `config` is relative to.

    Raises:
        UserError: the model is unknown, missing, or cannot be reached.
    """
    with _materialised(config, None, root=root, cache_dir=cache_dir) as (folder, origin):
        digest = store.model_sha256(folder)
        _keep(folder, cache_dir / digest)
    return {"kind": config.kind, **origin, "model_sha256": digest}


def fetch_start(pin: dict[str, Any], config: ColdStart, *, root: Path, cache_dir: Path) -> Path:
    """The folder of the pinned start: from the cache by its digest, else fetched again and verified.

    Raises:
        UserError: nothing is pinned, the pin is of another start than `config`, or the start is no longer what
            was pinned.
    """
    require_pinned(pin, config)
    digest = pin["model_sha256"]
    cached: Path = cache_dir / digest
    if cached.is_dir() and store.model_sha256(cached) == digest:
        return cached
    with _materialised(config, pin, root=root, cache_dir=cache_dir) as (folder, _):
        found = store.model_sha256(folder)
        if found != digest:
            raise UserError(
                f"the start changed since it was pinned (pins/start.json has {digest[:12]}, found {found[:12]}): "
                "run `fclip pin` to accept what it is now"
            )
        _keep(folder, cached)
    return cached


def require_pinned(pin: dict[str, Any], config: ColdStart) -> None:
    """Raise UserError unless `pin` is of the start that `config` names."""
    if not pin.get("model_sha256"):
        raise UserError("the start is not pinned yet (pins/start.json): run `fclip pin`")
    if any(pin.get(key) != value for key, value in describe_config(config).items()):
        raise UserError("finetune.start in params.yaml is not what pins/start.json holds: run `fclip pin`")


def describe_config(config: ColdStart) -> dict[str, Any]:
    """What of a pin follows from the config alone."""
    match config:
        case FclipTinyStart():
            name: dict[str, Any] = {}
        case TowersStart():
            name = {key: value for key, value in asdict(config).items() if key != "kind"}
        case OpenClipStart():
            name = {"model": config.model, "pretrained": config.pretrained}
        case TransformersStart():
            name = {"model": config.model, "revision": config.revision}
        case LocalStart():
            name = {"path": config.path}
    return {"kind": config.kind, "from": name}


@contextmanager
def _materialised(
    config: ColdStart, pin: dict[str, Any] | None, *, root: Path, cache_dir: Path
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the start's folder, somewhere temporary beside the cache, and what is known of its origin.

    Args:
        pin: what is to be fetched again, None to look what there is now.
    """
    cache_dir.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=cache_dir, prefix=".start-"))
    try:
        match config:
            case FclipTinyStart():
                origin: dict[str, Any] = {"sources": tiny.compose(temporary)}
            case TowersStart():
                origin = {"sources": towers.compose(config, temporary)}
            case OpenClipStart():
                origin = {"sources": _from_open_clip(config, temporary)}
            case TransformersStart():
                origin = _from_transformers(config, pin, root, temporary)
            case LocalStart():
                origin = {"sources": _from_folder(root / config.path, temporary)}
        yield temporary, {**describe_config(config), **origin}
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _keep(folder: Path, target: Path) -> None:
    if target.is_dir():
        if store.model_sha256(target) == target.name:
            return
        shutil.rmtree(target)  # damaged
    folder.chmod(0o755)
    folder.rename(target)


def _from_open_clip(config: OpenClipStart, out_dir: Path) -> dict[str, str]:
    model_cfg, wants_quick_gelu = _known(config)
    try:
        with quiet():
            model = open_clip.create_model(
                config.model,
                pretrained=config.pretrained,
                force_quick_gelu=wants_quick_gelu,
                require_pretrained=True,
                weights_only=True,
            )
            tokenizer = open_clip.get_tokenizer(config.model)
    except (RuntimeError, ValueError, OSError) as error:
        raise UserError(
            f"the start {config.model} could not be fetched: {_last_line(error)}: "
            "is this machine online, and is the name right?"
        ) from error
    if wants_quick_gelu:
        model_cfg = {**model_cfg, "quick_gelu": True}
    _write(model, model_cfg, tokenizer, out_dir)
    return {store.WEIGHTS: store.model_sha256(out_dir)}


def _known(config: OpenClipStart) -> tuple[dict[str, Any], bool]:
    if config.model.startswith(HUB_PREFIX):
        try:
            with quiet():
                return open_clip.get_model_config(config.model), False
        except (RuntimeError, ValueError, OSError) as error:
            raise UserError(
                f"the start {config.model} could not be fetched: {_last_line(error)}: "
                "is this machine online, does the name exist, and does the repository hold open_clip_config.json?"
            ) from error
    model_cfg = open_clip.get_model_config(config.model)
    if model_cfg is None:
        raise UserError(f"open_clip knows no model {config.model!r}: `open_clip.list_models()` names all it knows")
    tag = open_clip.get_pretrained_cfg(config.model, config.pretrained)
    if not tag:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(config.model)) or "none"
        raise UserError(f"open_clip has no weights {config.pretrained!r} for {config.model}: it has {tags}")
    return model_cfg, bool(tag.get("quick_gelu"))


def _from_folder(source: Path, out_dir: Path) -> dict[str, str]:
    clip = store.load(source)
    _write(clip.model, store.read_config(source)["model_cfg"], clip.tokenizer, out_dir)
    return {"folder": clip.model_sha256}


def _from_transformers(
    config: TransformersStart, pin: dict[str, Any] | None, root: Path, out_dir: Path
) -> dict[str, Any]:
    origin: dict[str, Any] = {}
    folder = root / config.model
    if folder.is_dir():
        files = source_files(path.name for path in folder.iterdir())
    elif HUB_ID.fullmatch(config.model):
        if pin is None:
            commit, present = hub.look_up(config.model, config.revision)
            files = source_files(present)
        else:
            commit, files = pin["revision"], tuple(pin["sources"])
        folder = hub.fetch(config.model, files, commit)
        origin["revision"] = commit
    else:
        raise UserError(f"the start {config.model} is no folder in {root}, and no `organisation/name` of the hub")
    import_clip(folder, files, out_dir)
    return {**origin, "sources": {name: sha256_file(folder / name) for name in files}}


def _write(model: torch.nn.Module, model_cfg: dict[str, Any], tokenizer: store.Tokenizer, out_dir: Path) -> None:
    """Write a model so that it needs nothing outside `out_dir`: what it takes from transformers goes beside it."""
    text_cfg = dict(model_cfg["text_cfg"])
    if text_cfg.get("hf_model_name"):
        text_tower: Any = model.text
        text_tower.config.save_pretrained(out_dir)
        text_cfg["hf_model_name"] = store.HERE
    if isinstance(tokenizer, HFTokenizer):
        store.write_tokenizer(tokenizer, out_dir)
        text_cfg["hf_tokenizer_name"] = store.HERE
    store.write_config({**model_cfg, "text_cfg": text_cfg}, store.preprocess_of(model), out_dir)
    store.write_weights(model, out_dir)


def _last_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[-1][:300] if text else type(error).__name__

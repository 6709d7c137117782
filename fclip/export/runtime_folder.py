"""The folder that the runtime loads for a model of any format. A model of another format is converted once and kept.

Converting needs the extra `pipeline`; a model that has been converted before needs neither it nor the network.
"""

import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from fclip.base_models.registry import WriteRequest, base_model_from_name, base_models
from fclip.base_models.transformers import TransformersConfig
from fclip.errors import UserError
from fclip.files import sha256_json, signatures
from fclip.home import fclip_home
from fclip.models.digests import model_sha256
from fclip.models.folder import CONFIG as OPEN_CLIP_CONFIG
from fclip.remembered import recall, remember
from fclip.runtime.loading import can_load
from fclip.runtime.manifest import FORMAT, MANIFEST
from fclip.runtime.tiny import NAME as TINY

if TYPE_CHECKING:
    from fclip.export.parity import ParityInputs

logger = logging.getLogger(__name__)
SHORT_NAMES = {"fashion-clip": "patrickjohncyh/fashion-clip"}
REGISTRY = "models:/"
TRANSFORMERS_CONFIG = "config.json"
TOKEN = "HF_TOKEN"
GetInputs: TypeAlias = "Callable[[], ParityInputs | None]"
FORMS = (
    f"`{TINY}`, the folder of a model, `organisation/name` on the Hugging Face hub, `fashion-clip`, "
    f"`{REGISTRY}NAME/VERSION` or `{REGISTRY}NAME@ALIAS`"
)


def _drawn() -> None:
    return None


def runtime_folder(
    name: str | Path, *, hub_token: str | None = None, parity_inputs: GetInputs = _drawn
) -> Path | Literal["fclip-tiny"]:
    """Return what `fclip.runtime.load` takes for a model.

    Args:
        name: `fclip-tiny`; a folder for the runtime, of open_clip or of transformers; `organisation/name` on the hub,
            or `fashion-clip`; or a version in the registry, `models:/NAME/VERSION` or `models:/NAME@ALIAS`. A folder
            takes precedence. A folder is converted again if its files change; a model of the hub is not.
        hub_token: access token for a private model on the hub; None for the one of the user's login.
        parity_inputs: returns what a converted model is checked on; None for drawn products. Called for a conversion.

    Raises:
        UserError: there is no such model, it cannot be converted, or converting it needs the extra `pipeline`.
    """
    folder = Path(name)
    if folder.is_dir():
        return folder if can_load(folder) else _from_folder(folder, parity_inputs)
    if name == TINY:
        return "fclip-tiny"
    if str(name).startswith(REGISTRY):
        return _from_registry(str(name))
    return _from_hub(SHORT_NAMES.get(str(name), str(name)), hub_token, parity_inputs)


def _from_registry(name: str) -> Path:
    registered, _, version = name.removeprefix(REGISTRY).replace("@", "/").rpartition("/")
    if not registered:
        raise UserError(f"{name} names no version; use `{REGISTRY}NAME/VERSION` or `{REGISTRY}NAME@ALIAS`")
    if find_spec("mlflow") is None:
        raise UserError(f"{name} is in the registry, which needs the package mlflow; run `pip install mlflow`")
    from fclip.registry.store import download_package, find_version  # mlflow takes seconds to import

    pin = find_version(registered, version).pin
    target = _home() / "versions" / pin.model_sha256
    return target if _is_complete(target) else download_package(pin, target)


def _from_folder(folder: Path, parity_inputs: GetInputs) -> Path:
    folder = folder.resolve()
    is_open_clip = (folder / OPEN_CLIP_CONFIG).is_file()
    if not is_open_clip and not (folder / TRANSFORMERS_CONFIG).is_file():
        raise UserError(
            f"{folder} contains no model: neither {MANIFEST} nor {OPEN_CLIP_CONFIG} nor {TRANSFORMERS_CONFIG}"
        )
    target = _home() / sha256_json([FORMAT, _digest(folder)])
    if not _is_complete(target):
        export = _exporter(str(folder))
        if is_open_clip:
            export(folder, target, parity_inputs())
        else:
            config = TransformersConfig(kind="transformers", model=str(folder))
            with written_base_model(config) as (written, _):
                export(written, target, parity_inputs())
    return target


def _from_hub(name: str, token: str | None, parity_inputs: GetInputs) -> Path:
    memory = _home() / f"hub-{sha256_json(name)[:16]}.json"
    known = recall(memory, [FORMAT, name])
    if known is not None and _is_complete(_home() / known):
        return _home() / str(known)
    config = base_model_from_name(name)
    if config is None:
        raise UserError(f"{name} is not a model; use {FORMS}")
    export = _exporter(name)
    with _hub_token(token), written_base_model(config) as (written, sources):
        target = _home() / sha256_json([FORMAT, sources])
        export(written, target, parity_inputs())
    remember(memory, [FORMAT, name], target.name)
    return target


def _home() -> Path:
    return fclip_home() / "models"


def _is_complete(folder: Path) -> bool:
    return (folder / MANIFEST).is_file()


def _digest(folder: Path) -> str:
    """Return the digest of a folder's files, which is remembered while they do not change."""
    memory = _home() / f"folder-{sha256_json(str(folder))[:16]}.json"
    state = signatures(path for path in folder.rglob("*") if path.is_file())
    known = recall(memory, state)
    digest = str(known) if known is not None else model_sha256(folder)
    if known is None:
        remember(memory, state, digest)
    return digest


def _exporter(name: str) -> "Callable[[Path, Path, ParityInputs | None], object]":
    """Return the function that exports an open_clip model folder; raises UserError if it cannot be imported."""
    try:
        from fclip.export.onnx import export_onnx
    except ImportError as error:
        raise UserError(
            f"{name} must be converted for the runtime once, which needs the package {error.name}; "
            "run `pip install '.[pipeline]'` in the folder of fclip"
        ) from error
    logger.info("Converting %s for the runtime; the result is kept in %s", name, _home())
    return export_onnx


@contextmanager
def written_base_model(config: Any) -> Iterator[tuple[Path, dict[str, str]]]:
    """Context with a temporary open_clip model folder of a base model, and the digests of its sources."""
    _home().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_home(), prefix=".model-") as temporary:
        folder = Path(temporary)
        origin = base_models()[config.kind].write(config, WriteRequest(folder, Path.cwd()))
        yield folder, dict(origin.sources)


@contextmanager
def _hub_token(token: str | None) -> Iterator[None]:
    """Context in which huggingface_hub uses `token`. It is only in the environment, so that no file contains it."""
    before = os.environ.get(TOKEN)
    if token:
        os.environ[TOKEN] = token
    try:
        yield
    finally:
        if token and before is None:
            del os.environ[TOKEN]
        elif token and before is not None:
            os.environ[TOKEN] = before

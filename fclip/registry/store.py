"""Read the registry: versions, the champion, and files and weights of versions."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fclip.errors import UserError
from fclip.files import atomic_dir, link_or_copy, read_json, sha256_json, sha256_tree
from fclip.home import fclip_home
from fclip.models.folder import CARD, read_config
from fclip.registry import tags
from fclip.registry.backend import connect, database_state, tracking_uri
from fclip.registry.versions import Version, VersionPin, version_from_json, version_named, version_to_json
from fclip.remembered import recall, remember
from fclip.runtime.manifest import MANIFEST, RUNTIME_FILES, TOKENIZER

if TYPE_CHECKING:
    from mlflow import MlflowClient

MODEL_FOLDER = "open_clip"  # the name of the weights' folder among a version's artifacts


def versions(name: str) -> list[Version]:
    """Return all versions of the registered model `name`, the newest first; empty if it is not registered.

    For an SQLite store they are remembered until its file changes, because importing MLflow takes seconds. Code that
    changes the registry reads it with `list_versions` instead.
    """
    memory = fclip_home() / "versions" / f"{sha256_json([tracking_uri(), name])[:16]}.json"
    state = database_state()
    if (known := recall(memory, state)) is not None:
        return [version_from_json(entry) for entry in known]
    present = list_versions(connect(), name)
    if state is not None and state == database_state():
        remember(memory, state, [version_to_json(version) for version in present])
    return present


def find_version(registered_model: str, name: str) -> Version:
    """Return the version of `registered_model` with the number or alias `name`.

    Raises:
        UserError: no version has this number or alias; the message lists the existing ones.
    """
    return version_named(versions(registered_model), name, registered_model=registered_model)


def champion(name: str) -> Version | None:
    """Return the champion of the registered model `name`, or None."""
    return next((version for version in versions(name) if version.is_champion), None)


def set_version_tag(name: str, version: int, key: str, value: str) -> None:
    """Set a tag of a version."""
    connect().set_model_version_tag(name, str(version), key, value)


def download_model(pin: VersionPin, out_dir: Path) -> Path:
    """Download the weights of the pinned version to `out_dir`, an open_clip folder, and verify the digest.

    `out_dir` appears complete or not at all.

    Raises:
        UserError: the registry does not have the version, or its weights do not have the pinned digest.
    """
    return _download(pin, out_dir, with_runtime=False)


def download_package(pin: VersionPin, out_dir: Path) -> Path:
    """Download the package of the pinned version (`fclip.export.package`), and verify its weights.

    Raises:
        UserError: as for `download_model`, or the version was registered without a package.
    """
    return _download(pin, out_dir, with_runtime=True)


def _download(pin: VersionPin, out_dir: Path, *, with_runtime: bool) -> Path:
    connect()
    import mlflow

    uri = f"models:/{pin.registered_model}/{pin.version}"
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out_dir.parent, prefix=".download-") as temporary:
        try:
            fetched = Path(mlflow.artifacts.download_artifacts(f"{uri}/artifacts/{MODEL_FOLDER}", dst_path=temporary))
        except (mlflow.exceptions.MlflowException, OSError) as error:
            raise UserError(
                f"{pin.title} could not be fetched from {tracking_uri()} ({error}); set MLFLOW_TRACKING_URI to the "
                "registry with this version, or run `fclip pin` to pin the current champion"
            ) from error
        model = Path(temporary) / "model"
        shutil.copytree(fetched, model, ignore=_not_of_the_model, copy_function=link_or_copy)
        digest = sha256_tree(model)
        if digest != pin.model_sha256:
            raise UserError(
                f"{pin.title} has weights {digest[:12]}, but {pin.model_sha256[:12]} are pinned; if the registry is "
                "correct, run `fclip pin`, otherwise restore the artifacts of the version"
            )
        if with_runtime and not (fetched / MANIFEST).is_file():
            raise UserError(f"{pin.title} has no ONNX graphs; register the model again with `fclip retrain`")
        with atomic_dir(out_dir) as target:
            shutil.copytree(fetched if with_runtime else model, target, dirs_exist_ok=True)
    return out_dir


def _not_of_the_model(folder: str, names: list[str]) -> set[str]:
    """Return the files that a package has beside those of the model."""
    if MANIFEST not in names:
        return set()
    added = {*RUNTIME_FILES, CARD}
    if not read_config(Path(folder))["model_cfg"]["text_cfg"].get("hf_tokenizer_name"):
        added.add(TOKENIZER)  # open_clip's own tokenizer has no file
    return added


def read_artifact(pin: VersionPin, name: str) -> Any | None:
    """Read the JSON file `name` that was registered with the pinned version; None if there is no such file.

    Raises:
        UserError: the registry does not have the version, or the file cannot be fetched or read.
    """
    with tempfile.TemporaryDirectory(prefix="fclip-") as temporary:
        path = download_artifact(pin, name, Path(temporary))
        try:
            return read_json(path) if path else None
        except (OSError, ValueError) as error:
            raise UserError(
                f"{name} of {pin.title} could not be read ({error}); restore the artifacts of the version"
            ) from error


def download_artifact(pin: VersionPin, name: str, out_dir: Path) -> Path | None:
    """Download the file `name` that was registered with the pinned version to `out_dir`; None if there is no such file.

    Raises:
        UserError: the registry does not have the version, or the file cannot be fetched.
    """
    client = connect()
    import mlflow

    present = list_versions(client, pin.registered_model)
    version = next((entry for entry in present if entry.version == pin.version), None)
    if version is None:
        raise UserError(
            f"{tracking_uri()} does not have {pin.title}; set MLFLOW_TRACKING_URI to the registry with this version, "
            "or run `fclip pin` to pin the current champion"
        )
    try:
        if name not in {entry.path for entry in client.list_artifacts(version.run_id)}:
            return None
        return Path(client.download_artifacts(version.run_id, name, str(out_dir)))
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise UserError(
            f"{name} of {pin.title} could not be fetched ({error}); check the connection to the registry"
        ) from error


def list_versions(client: "MlflowClient", name: str) -> list[Version]:
    """Return all versions of the registered model `name`, the newest first, with an existing client."""
    aliases = _aliases(client, name)
    if aliases is None:
        return []
    result: list[Version] = []
    token = None
    while True:
        page = client.search_model_versions(f"name = '{name}'", max_results=1000, page_token=token)
        result += [_version(entry, aliases) for entry in page]
        token = page.token
        if not token:
            return sorted(result, key=lambda entry: -entry.version)


def find_by_alias(client: "MlflowClient", name: str, alias: str) -> Version | None:
    """Return the version with this alias, or None."""
    return next((entry for entry in list_versions(client, name) if alias in entry.aliases), None)


def find_by_weights(client: "MlflowClient", name: str, model_sha256: str) -> list[Version]:
    """Return the versions with these weights, the newest first."""
    return [entry for entry in list_versions(client, name) if entry.model_sha256 == model_sha256]


def _aliases(client: "MlflowClient", name: str) -> dict[str, str] | None:
    """Return alias -> version number; None if the model is not registered. (Searches do not return aliases.)"""
    from mlflow.exceptions import MlflowException

    try:
        return {alias: str(version) for alias, version in client.get_registered_model(name).aliases.items()}
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _version(entry: Any, aliases: Mapping[str, str]) -> Version:
    return Version(
        registered_model=entry.name,
        version=int(entry.version),
        aliases=tuple(sorted(alias for alias, number in aliases.items() if number == str(entry.version))),
        model_sha256=entry.tags.get(tags.MODEL_SHA256, ""),
        created_at=datetime.fromtimestamp(entry.creation_timestamp / 1000, tz=UTC),
        run_id=entry.run_id or "",
        tags=dict(entry.tags),
        headline=json.loads(entry.tags.get(tags.HEADLINE, "{}")),
    )

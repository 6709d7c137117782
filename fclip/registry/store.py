"""Read the registry: versions, who is champion, and the weights of a version, verified."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fclip.errors import UserError
from fclip.files import atomic_dir, read_json, sha256_tree
from fclip.registry import tags
from fclip.registry.backend import connect, tracking_uri
from fclip.registry.versions import Version, VersionPin, version_named

if TYPE_CHECKING:
    from mlflow import MlflowClient

MODEL_FOLDER = "open_clip"  # the name of the weights' folder among a version's artifacts


def versions(name: str) -> list[Version]:
    """All versions of the registered model `name`, the newest first; none where it is not registered."""
    return list_versions(connect(), name)


def find_version(registered_model: str, name: str) -> Version:
    """The version of `registered_model` that a person means by `name`: a number or an alias.

    Raises:
        UserError: there is none; the message names those there are.
    """
    return version_named(versions(registered_model), name, registered_model=registered_model)


def champion(name: str) -> Version | None:
    """The version that others use, or None while there is none."""
    return with_alias(connect(), name, tags.CHAMPION)


def set_version_tag(name: str, version: int, key: str, value: str) -> None:
    """Tag a version, as the closing commit does with what reproduces it."""
    connect().set_model_version_tag(name, str(version), key, value)


def download_model(pin: VersionPin, out_dir: Path) -> Path:
    """Fetch the weights that `pin` names into `out_dir` (an open_clip folder), whole and verified, or not at all.

    Raises:
        UserError: the registry has no such version, or its files are not those of the pinned digest.
    """
    connect()
    import mlflow

    uri = f"models:/{pin.registered_model}/{pin.version}"
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out_dir.parent, prefix=".download-") as temporary:
        try:
            fetched = Path(mlflow.artifacts.download_artifacts(f"{uri}/artifacts/{MODEL_FOLDER}", dst_path=temporary))
        except (mlflow.exceptions.MlflowException, OSError) as error:
            raise UserError(
                f"{pin.title} could not be fetched from {tracking_uri()} ({error}): "
                "set MLFLOW_TRACKING_URI to the registry that has it, or run `fclip pin` to pin its present champion"
            ) from error
        found = sha256_tree(fetched)
        if found != pin.model_sha256:
            raise UserError(
                f"{pin.title} has weights {found[:12]}, but {pin.model_sha256[:12]} are pinned: "
                "run `fclip pin` if the registry is right, else restore the version's artifacts"
            )
        with atomic_dir(out_dir) as target:
            shutil.copytree(fetched, target, dirs_exist_ok=True)
    return out_dir


def read_artifact(pin: VersionPin, name: str) -> Any | None:
    """The JSON file `name` that was stored with the pinned version; None where it was registered without one.

    Raises:
        UserError: the registry has no such version, or the file cannot be fetched or read.
    """
    with tempfile.TemporaryDirectory(prefix="fclip-") as temporary:
        path = download_artifact(pin, name, Path(temporary))
        try:
            return read_json(path) if path else None
        except (OSError, ValueError) as error:
            raise UserError(f"{name} of {pin.title} could not be read ({error})") from error


def download_artifact(pin: VersionPin, name: str, out_dir: Path) -> Path | None:
    """Fetch the file `name` that was stored with the pinned version into `out_dir`; None where there is none.

    Raises:
        UserError: the registry has no such version, or the file cannot be fetched.
    """
    client = connect()
    import mlflow

    present = list_versions(client, pin.registered_model)
    version = next((entry for entry in present if entry.version == pin.version), None)
    if version is None:
        raise UserError(
            f"{tracking_uri()} has no {pin.title}: set MLFLOW_TRACKING_URI to the registry that has "
            "it, or run `fclip pin` to pin its present champion"
        )
    try:
        if name not in {entry.path for entry in client.list_artifacts(version.run_id)}:
            return None
        return Path(client.download_artifacts(version.run_id, name, str(out_dir)))
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise UserError(f"{name} of {pin.title} could not be fetched ({error})") from error


def list_versions(client: "MlflowClient", name: str) -> list[Version]:
    """As `versions`, by a client at hand."""
    aliases = _aliases(client, name)
    if aliases is None:
        return []
    found: list[Version] = []
    token = None
    while True:
        page = client.search_model_versions(f"name = '{name}'", max_results=1000, page_token=token)
        found += [_version(entry, aliases) for entry in page]
        token = page.token
        if not token:
            return sorted(found, key=lambda entry: -entry.version)


def with_alias(client: "MlflowClient", name: str, alias: str) -> Version | None:
    """The version that bears `alias`, or None."""
    return next((entry for entry in list_versions(client, name) if alias in entry.aliases), None)


def with_weights(client: "MlflowClient", name: str, model_sha256: str) -> list[Version]:
    """The versions that hold these weights, the newest first."""
    return [entry for entry in list_versions(client, name) if entry.model_sha256 == model_sha256]


def _aliases(client: "MlflowClient", name: str) -> dict[str, str] | None:
    """alias -> version number; None where no such model is registered. (A search leaves aliases out.)"""
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

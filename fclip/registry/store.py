"""Read the registry: versions, who is champion, and the weights of a version, verified."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fclip.errors import UserError
from fclip.files import atomic_dir, read_json, sha256_tree
from fclip.registry import tags
from fclip.registry.backend import connect, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

MODEL_FOLDER = "open_clip"  # the name of the weights' folder among a version's artifacts


@dataclass(frozen=True)
class Version:
    """One version of a registered model.

    headline: the primary metrics of the evaluation it was registered with, `<dataset>.<split>.<protocol>.<metric>`.
    succeeds: the version that it followed as champion, if it ever became one after another.
    """

    registered_model: str
    version: int
    aliases: tuple[str, ...]
    model_sha256: str
    created_at: datetime
    run_id: str
    tags: Mapping[str, str]
    headline: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_champion(self) -> bool:
        return tags.CHAMPION in self.aliases

    @property
    def rolled_back(self) -> bool:
        return self.tags.get(tags.ROLLED_BACK) == "true"

    @property
    def succeeds(self) -> int | None:
        number = self.tags.get(tags.SUCCEEDS)
        return int(number) if number else None

    @property
    def pin(self) -> dict[str, Any]:
        """What pins/champion.json holds while this version is champion."""
        return {
            "registered_model": self.registered_model,
            "version": self.version,
            "model_sha256": self.model_sha256,
        }


def versions(name: str) -> list[Version]:
    """All versions of the registered model `name`, the newest first; none where it is not registered."""
    return list_versions(connect(), name)


def champion(name: str) -> Version | None:
    """The version that others use, or None while there is none."""
    return with_alias(connect(), name, tags.CHAMPION)


def challenger(name: str) -> Version | None:
    """The version registered last, or None."""
    return with_alias(connect(), name, tags.CHALLENGER)


def champion_pin(name: str) -> dict[str, Any]:
    """The content of pins/champion.json as the registry has it now; empty while there is no champion."""
    found = champion(name)
    return found.pin if found else {}


def set_version_tag(name: str, version: int, key: str, value: str) -> None:
    """Tag a version, as the closing commit does with what reproduces it."""
    connect().set_model_version_tag(name, str(version), key, value)


def download_model(pin: Mapping[str, Any], out_dir: Path) -> Path:
    """Fetch the weights that `pin` names into `out_dir` (an open_clip folder), whole and verified, or not at all.

    Args:
        pin: `registered_model`, `version` and `model_sha256`, as in pins/champion.json.

    Raises:
        UserError: the registry has no such version, or its files are not those of the pinned digest.
    """
    connect()
    import mlflow

    name, version, digest = pin["registered_model"], pin["version"], pin["model_sha256"]
    uri = f"models:/{name}/{version}"
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out_dir.parent, prefix=".download-") as temporary:
        try:
            fetched = Path(mlflow.artifacts.download_artifacts(f"{uri}/artifacts/{MODEL_FOLDER}", dst_path=temporary))
        except (mlflow.exceptions.MlflowException, OSError) as error:
            raise UserError(
                f"version {version} of {name} could not be fetched from {tracking_uri()} ({error}): "
                "set MLFLOW_TRACKING_URI to the registry that has it, or run `fclip pin` to pin its present champion"
            ) from error
        found = sha256_tree(fetched)
        if found != digest:
            raise UserError(
                f"version {version} of {name} has weights {found[:12]}, but {digest[:12]} are pinned: "
                "run `fclip pin` if the registry is right, else restore the version's artifacts"
            )
        with atomic_dir(out_dir) as target:
            shutil.copytree(fetched, target, dirs_exist_ok=True)
    return out_dir


def read_artifact(pin: Mapping[str, Any], name: str) -> Any | None:
    """The JSON file `name` that was stored with the pinned version; None where it was registered without one.

    Raises:
        UserError: the registry has no such version, or the file cannot be fetched or read.
    """
    with tempfile.TemporaryDirectory(prefix="fclip-") as temporary:
        path = download_artifact(pin, name, Path(temporary))
        try:
            return read_json(path) if path else None
        except (OSError, ValueError) as error:
            raise UserError(
                f"{name} of version {pin['version']} of {pin['registered_model']} could not be read ({error})"
            ) from error


def download_artifact(pin: Mapping[str, Any], name: str, out_dir: Path) -> Path | None:
    """Fetch the file `name` that was stored with the pinned version into `out_dir`; None where there is none.

    Raises:
        UserError: the registry has no such version, or the file cannot be fetched.
    """
    client = connect()
    import mlflow

    model, number = pin["registered_model"], pin["version"]
    version = next((entry for entry in list_versions(client, model) if entry.version == number), None)
    if version is None:
        raise UserError(
            f"{tracking_uri()} has no version {number} of {model}: set MLFLOW_TRACKING_URI to the registry that has "
            "it, or run `fclip pin` to pin its present champion"
        )
    try:
        if name not in {entry.path for entry in client.list_artifacts(version.run_id)}:
            return None
        return Path(client.download_artifacts(version.run_id, name, str(out_dir)))
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise UserError(f"{name} of version {number} of {model} could not be fetched ({error})") from error


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

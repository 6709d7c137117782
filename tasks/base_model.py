"""The model that training starts from: its pin in pins/base_model.json, and the folder of the pinned model.

A base model has a `BaseModelPin`. A warm start has a `WarmStartPin`: the registry version of the champion, if there was
one, and the pin of the base model that is used without a champion.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fclip.base_models.pinning import BaseModelPin, fetch_base_model, pin_base_model, require_matching_pin
from fclip.base_models.registry import AnyBaseModelConfig, BaseModelConfig, ChampionConfig
from fclip.errors import UserError
from fclip.files import atomic_dir, atomic_path, link_or_copy, sha256_file
from fclip.registry.versions import VersionPin
from tasks.workspace.params import load_section
from tasks.workspace.paths import Workspace
from tasks.workspace.pins import read_pin
from tasks.workspace.weights import find_model

WARM_START = "champion"
"""The `kind` of a warm start, in params.yaml and in its pin."""


@dataclass(frozen=True)
class WarmStartPin:
    """The pin of a warm start.

    Attributes:
        champion: the version that training starts from; None if there was no champion.
        rows_sha256: digest of the file that lists the training rows of the champion; None without such a file.
        otherwise: the base model that training starts from without a champion.
    """

    champion: VersionPin | None
    rows_sha256: str | None
    otherwise: BaseModelPin

    @property
    def model_sha256(self) -> str:
        """The digest of the model that training starts from."""
        return (self.champion or self.otherwise).model_sha256

    @property
    def title(self) -> str:
        """Name of the model that training starts from, for people."""
        return f"the pinned champion: {self.champion.title}" if self.champion else self.otherwise.title

    def to_json(self) -> dict[str, Any]:
        """The content of pins/base_model.json."""
        champion = {**self.champion.to_json(), "rows_sha256": self.rows_sha256} if self.champion else None
        return {
            "kind": WARM_START,
            "champion": champion,
            "otherwise": self.otherwise.to_json(),
            "model_sha256": self.model_sha256,
        }

    @classmethod
    def from_json(cls, values: Any) -> "WarmStartPin":
        """Return the pin from the output of `to_json`; raises ValueError for other values."""
        match values:
            case {"champion": None, "otherwise": dict(otherwise)}:
                return cls(None, None, BaseModelPin.from_json(otherwise))
            case {"champion": {"rows_sha256": str() | None as rows, **version}, "otherwise": dict(otherwise)}:
                return cls(VersionPin.from_json(version), rows, BaseModelPin.from_json(otherwise))
        raise ValueError("the pin of a warm start needs `champion` and `otherwise`")


AnyBaseModelPin = BaseModelPin | WarmStartPin


def base_model_pin_from_json(values: Any) -> AnyBaseModelPin:
    """Return the pin from the output of its `to_json`; raises ValueError for other values."""
    match values:
        case {"kind": kind} if kind == WARM_START:
            return WarmStartPin.from_json(values)
    return BaseModelPin.from_json(values)


def base_model_config(workspace: Workspace) -> AnyBaseModelConfig:
    """The section `finetune.base_model` of params.yaml; raises UserError like `load_section`."""
    return load_section(workspace, "finetune.base_model", AnyBaseModelConfig)  # type: ignore[type-abstract]


def read_base_model_pin(workspace: Workspace) -> AnyBaseModelPin | None:
    """Read pins/base_model.json; None if no base model is pinned. Raises UserError for an invalid pin."""
    return read_pin(workspace.base_model_pin, base_model_pin_from_json)


def base_model_folder(workspace: Workspace, base_model: BaseModelConfig) -> Path:
    """Return the folder of the current version of a base model in cache/models, without using the pin.

    Raises:
        UserError: the base model cannot be fetched or composed.
    """
    root, cache_dir = workspace.root, workspace.model_cache
    return fetch_base_model(
        pin_base_model(base_model, root=root, cache_dir=cache_dir), base_model, root=root, cache_dir=cache_dir
    )


def find_base_model(workspace: Workspace) -> Path:
    """Return the folder in cache/models of the model that fine-tuning starts from. Fetch it if it is not cached.

    Raises:
        UserError: no base model is pinned, the pin is for another base model, or its weights cannot be found.
    """
    config, pin = _pinned(workspace)
    if isinstance(pin, WarmStartPin) and pin.champion:
        return _fetch_champion(workspace, pin.champion)
    return _fetch(workspace, config, pin)


def find_original_base_model(workspace: Workspace) -> Path | None:
    """Return the folder of the base model that the first champion was trained from; None without a pinned champion."""
    config, pin = _pinned(workspace)
    return _fetch(workspace, config, pin) if isinstance(pin, WarmStartPin) and pin.champion else None


def find_trained_rows(workspace: Workspace) -> Path | None:
    """Return the table of training rows of the champion (see `fclip.training.seen_rows`); None if they are unknown.

    Raises:
        UserError: as in `find_base_model`, or the pinned rows are neither in the cache nor in the registry.
    """
    _, pin = _pinned(workspace)
    if not isinstance(pin, WarmStartPin) or not pin.champion or not pin.rows_sha256:
        return None
    digest = pin.rows_sha256
    path = workspace.champion_rows(digest)
    if (not path.is_file() or sha256_file(path) != digest) and cache_trained_rows(workspace, pin.champion) != digest:
        raise UserError(
            f"{pin.champion.title}: the registry does not contain its pinned training rows ({digest[:12]}); "
            "run `fclip pin --follow-champion`"
        )
    return path


def cache_trained_rows(workspace: Workspace, pin: VersionPin) -> str | None:
    """Download the training rows of a version to the cache and return their digest; None if the registry has none."""
    from fclip.registry.store import download_artifact  # mlflow takes seconds to import

    with TemporaryDirectory(prefix="fclip-") as temporary:
        rows = download_artifact(pin, workspace.trained_rows.name, Path(temporary))
        if rows is None:
            return None
        digest = sha256_file(rows)
        with atomic_path(workspace.champion_rows(digest)) as cached:
            shutil.copyfile(rows, cached)
        return digest


def _pinned(workspace: Workspace) -> tuple[BaseModelConfig, AnyBaseModelPin]:
    """Return the config of the base model (of `otherwise` for a warm start) and its pin, which must match."""
    config = base_model_config(workspace)
    pin = read_base_model_pin(workspace)
    if not isinstance(config, ChampionConfig):
        if isinstance(pin, WarmStartPin):
            raise _pin_mismatch()
        return config, require_matching_pin(pin, config)
    if isinstance(pin, BaseModelPin):
        raise _pin_mismatch()
    require_matching_pin(pin.otherwise if pin else None, config.otherwise)
    assert pin
    return config.otherwise, pin


def _pin_mismatch() -> UserError:
    return UserError("pins/base_model.json does not match finetune.base_model in params.yaml; run `fclip pin`")


def _fetch(workspace: Workspace, config: BaseModelConfig, pin: AnyBaseModelPin) -> Path:
    base = pin.otherwise if isinstance(pin, WarmStartPin) else pin
    return fetch_base_model(base, config, root=workspace.root, cache_dir=workspace.model_cache)


def _fetch_champion(workspace: Workspace, pin: VersionPin) -> Path:
    """Return the folder of the version in the cache. A copy is needed since models/selected may change soon."""
    cached = workspace.model_cache / pin.model_sha256
    found = find_model(workspace, pin.model_sha256, pin)
    if found != cached:
        with atomic_dir(cached) as temporary:
            shutil.copytree(found, temporary, dirs_exist_ok=True, copy_function=link_or_copy)
    return cached

"""What training starts from: the pin in pins/base_model.json, and the folder of the model that it pins.

The pin of a base model is a `BaseModelPin`. A warm start's is a `WarmStartPin`: the registry version that it starts
from, or none while there was no champion, and the pin of the base model that it would otherwise start from.
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

WARM = "champion"
"""The `kind` of a warm start, in params.yaml and in its pin."""


@dataclass(frozen=True)
class WarmStartPin:
    """A warm start as it was pinned.

    Attributes:
        champion: the version that training starts from; None while there was no champion.
        rows_sha256: of the file that lists the rows that the champion was trained on; None where there is no such file.
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
        """What training starts from, for people."""
        return f"the champion as pinned: {self.champion.title}" if self.champion else self.otherwise.title

    def to_json(self) -> dict[str, Any]:
        """The content of pins/base_model.json."""
        champion = {**self.champion.to_json(), "rows_sha256": self.rows_sha256} if self.champion else None
        return {
            "kind": WARM,
            "champion": champion,
            "otherwise": self.otherwise.to_json(),
            "model_sha256": self.model_sha256,
        }

    @classmethod
    def from_json(cls, values: Any) -> "WarmStartPin":
        """The pin that `to_json` gave; raises ValueError for anything else."""
        match values:
            case {"champion": None, "otherwise": dict(otherwise)}:
                return cls(None, None, BaseModelPin.from_json(otherwise))
            case {"champion": {"rows_sha256": str() | None as rows, **version}, "otherwise": dict(otherwise)}:
                return cls(VersionPin.from_json(version), rows, BaseModelPin.from_json(otherwise))
        raise ValueError("the pin of a warm start has `champion` and `otherwise`")


AnyBaseModelPin = BaseModelPin | WarmStartPin


def base_model_pin_from_json(values: Any) -> AnyBaseModelPin:
    """The pin whose `to_json` gave `values`; raises ValueError for anything else."""
    match values:
        case {"kind": kind} if kind == WARM:
            return WarmStartPin.from_json(values)
    return BaseModelPin.from_json(values)


def base_model_config(workspace: Workspace) -> AnyBaseModelConfig:
    """What params.yaml says that training starts from; raises UserError as `load_section`."""
    return load_section(workspace, "finetune.base_model", AnyBaseModelConfig)  # type: ignore[type-abstract]


def read_base_model_pin(workspace: Workspace) -> AnyBaseModelPin | None:
    """pins/base_model.json; None while nothing is pinned. Raises UserError for a file that holds no pin."""
    return read_pin(workspace.base_model_pin, base_model_pin_from_json)


def base_model_folder(workspace: Workspace, base_model: BaseModelConfig) -> Path:
    """The folder of a base model as it is now, pinned or not: composed or fetched, and kept in cache/models.

    Raises:
        UserError: it cannot be had.
    """
    pin = pin_base_model(base_model, root=workspace.root, cache_dir=workspace.model_cache)
    return workspace.model_cache / pin.model_sha256


def find_base_model(workspace: Workspace) -> Path:
    """What fine-tuning starts from, in cache/models under its digest; fetched where the cache does not have it.

    Raises:
        UserError: it is not pinned, or another one is, or its weights are nowhere to be had.
    """
    config, pin = _pinned(workspace)
    if isinstance(pin, WarmStartPin) and pin.champion:
        return _fetch_champion(workspace, pin.champion)
    return _fetch(workspace, config, pin)


def find_original_base_model(workspace: Workspace) -> Path | None:
    """The base model that the champions of a warm start came from at first, as `find_base_model`; None where it is the base model."""
    config, pin = _pinned(workspace)
    return _fetch(workspace, config, pin) if isinstance(pin, WarmStartPin) and pin.champion else None


def find_rows(workspace: Workspace) -> Path | None:
    """The rows that the champion was trained on, as `fclip.training.seen_rows` writes them; None where nobody knows.

    Raises:
        UserError: as `find_base_model`, or they are neither cached nor in the registry as they were pinned.
    """
    _, pin = _pinned(workspace)
    if not isinstance(pin, WarmStartPin) or not pin.champion or not pin.rows_sha256:
        return None
    digest = pin.rows_sha256
    path = workspace.champion_rows(digest)
    if (not path.is_file() or sha256_file(path) != digest) and keep_rows(workspace, pin.champion) != digest:
        raise UserError(
            f"{pin.champion.title} does not have the rows that are pinned ({digest[:12]}): "
            "run `fclip pin --follow-champion`"
        )
    return path


def keep_rows(workspace: Workspace, pin: VersionPin) -> str | None:
    """Fetch into the cache what the registry says that a version was trained on; its digest, or None without it."""
    from fclip.registry.store import download_artifact  # mlflow takes seconds to import

    with TemporaryDirectory(prefix="fclip-") as temporary:
        found = download_artifact(pin, workspace.trained_rows.name, Path(temporary))
        if found is None:
            return None
        digest = sha256_file(found)
        with atomic_path(workspace.champion_rows(digest)) as kept:
            shutil.copyfile(found, kept)
        return digest


def _pinned(workspace: Workspace) -> tuple[BaseModelConfig, AnyBaseModelPin]:
    """The config of the base model (of a warm start, the one that it would otherwise have), and the pin."""
    config = base_model_config(workspace)
    pin = read_base_model_pin(workspace)
    if not isinstance(config, ChampionConfig):
        if isinstance(pin, WarmStartPin):
            raise _other_base_model()
        return config, require_matching_pin(pin, config)
    if isinstance(pin, BaseModelPin):
        raise _other_base_model()
    require_matching_pin(pin.otherwise if pin else None, config.otherwise)
    assert pin
    return config.otherwise, pin


def _other_base_model() -> UserError:
    return UserError("finetune.base_model in params.yaml is not what pins/base_model.json holds: run `fclip pin`")


def _fetch(workspace: Workspace, config: BaseModelConfig, pin: AnyBaseModelPin) -> Path:
    base = pin.otherwise if isinstance(pin, WarmStartPin) else pin
    return fetch_base_model(base, config, root=workspace.root, cache_dir=workspace.model_cache)


def _fetch_champion(workspace: Workspace, pin: VersionPin) -> Path:
    """The version's folder in the cache: where the selected model is the same, it is soon another."""
    cached = workspace.model_cache / pin.model_sha256
    found = find_model(workspace, pin.model_sha256, pin)
    if found != cached:
        with atomic_dir(cached) as temporary:
            shutil.copytree(found, temporary, dirs_exist_ok=True, copy_function=link_or_copy)
    return cached

"""Kinds of base models. Each other module of this package declares one kind.

A declaration has the config of its kind and a function that writes the model's files. The accepted values of
`finetune.base_model` in params.yaml, the match between pins and configs, and the base model names that commands accept
are derived from the declarations. Modules import torch, open_clip and transformers only inside functions, because
parsing params.yaml imports all of them.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeAlias

from fclip.config import ByKind, config
from fclip.extensions import collect_declarations


class KindConfig(Protocol):
    """Interface of the config of every base model."""

    @property
    def kind(self) -> str: ...


@dataclass(frozen=True)
class Origin:
    """The sources of a base model.

    Attributes:
        sources: SHA-256 by name of file or package.
        revision: commit of the repository on the hub; None for other sources.
    """

    sources: Mapping[str, str]
    revision: str | None = None


@dataclass(frozen=True)
class WriteRequest:
    """A request to write a base model.

    Attributes:
        out_dir: existing, empty folder to write to.
        root: base of relative paths in the config.
        pinned: the origin to reproduce; None for the newest version.
    """

    out_dir: Path
    root: Path
    pinned: Origin | None = None


def _not_a_name(name: str) -> None:
    return None


def _unknown_state(config: Any, root: Path) -> None:
    return None


@dataclass(frozen=True)
class BaseModel:
    """One kind of base model.

    Attributes:
        kind: its name in params.yaml.
        label: short name for tables and messages.
        description: one sentence.
        config: a `fclip.config.config` class with `kind: Literal[kind]`. A pin contains all of its other fields.
        write: writes the model of a config in open_clip's local-directory format and returns its origin. Raises
            UserError if the model is unknown, missing, or cannot be downloaded.
        state: (config, root) -> the state of everything outside this package that `write` reads, as a JSON value:
            signatures of files, or the commit of a repository. While it is the same, the model is not written again.
            None if it is unknown.
        title_field: the field of the config that identifies the model of this kind; None if there is only one.
        path_fields: fields of the config that may be local paths.
        name_form: the form of names of this kind on the command line; None if commands do not accept this kind.
        from_name: returns the config for a name on the command line, or None if the name is not of this kind.
    """

    kind: str
    label: str
    description: str
    config: type[Any]
    write: Callable[[Any, WriteRequest], Origin]
    state: Callable[[Any, Path], Any] = _unknown_state
    title_field: str | None = None
    path_fields: tuple[str, ...] = ()
    name_form: str | None = None
    from_name: Callable[[str], Any | None] = _not_a_name


def base_models() -> Mapping[str, BaseModel]:
    """Return all declarations by kind."""
    return collect_declarations("fclip.base_models", BaseModel)


def _configs() -> list[type[Any]]:
    return [model.config for model in base_models().values()]


BaseModelConfig: TypeAlias = Annotated[KindConfig, ByKind(_configs)]
"""The config of any kind of base model."""


@config
class ChampionConfig:
    """A warm start: training continues from the champion of the workspace, in its pinned version.

    This package does not read the model registry: `tasks/base_model.py` finds the weights of the champion.
    """

    kind: Literal["champion"]
    otherwise: BaseModelConfig
    """The base model while there is no champion."""


AnyBaseModelConfig: TypeAlias = Annotated[KindConfig, ByKind(lambda: [*_configs(), ChampionConfig])]
"""What training starts from: a base model, or the champion."""


def base_model_from_json(values: Mapping[str, Any]) -> KindConfig:
    """Return the config from its `asdict`; raises KeyError, TypeError or ValueError for anything else."""
    if values["kind"] == "champion":
        return ChampionConfig(**{**values, "otherwise": base_model_from_json(values["otherwise"])})
    found: KindConfig = base_models()[values["kind"]].config(**values)
    return found


def pinned_settings(config: KindConfig) -> dict[str, Any]:
    """Return the fields of a config that a pin contains, all except `kind`, as JSON values."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(config)))  # type: ignore[call-overload]
    return {name: value for name, value in values.items() if name != "kind"}


def base_model_from_name(name: str) -> KindConfig | None:
    """Return the config of the base model called `name` on the command line, or None if there is no such base model."""
    configs = (model.from_name(name) for model in base_models().values())
    return next((config for config in configs if config is not None), None)


def base_model_name_forms() -> list[str]:
    """Return the forms of base model names on the command line, for messages."""
    return [model.name_form for model in base_models().values() if model.name_form]

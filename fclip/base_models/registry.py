"""The kinds of base model that training may start from. Each other module of this package declares one kind.

A declaration holds the config of its kind and writes the model's files. Everything else is derived from the
declarations: what `finetune.base_model` accepts in params.yaml, which pin belongs to a config, and which names of base
models the commands accept. Modules import torch, open_clip and transformers only inside functions, because params are
parsed with their configs.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeAlias

from fclip.config import ByKind, config
from fclip.extensions import declared


class KindConfig(Protocol):
    """What the config of every base model has."""

    @property
    def kind(self) -> str: ...


@dataclass(frozen=True)
class Origin:
    """What a base model was made from.

    Attributes:
        sources: SHA-256 by the name of a file or package.
        revision: the commit of a repository on the hub; None where there is none.
    """

    sources: Mapping[str, str]
    revision: str | None = None


@dataclass(frozen=True)
class Request:
    """Where a base model is to be written.

    Attributes:
        out_dir: an existing, empty folder.
        root: relative paths in the config are relative to it.
        pinned: the origin to use again; None: use the newest there is.
    """

    out_dir: Path
    root: Path
    pinned: Origin | None = None


def _no_name(name: str) -> None:
    return None


@dataclass(frozen=True)
class BaseModel:
    """One kind of base model.

    Attributes:
        kind: its name in params.yaml.
        label: a short name for people.
        description: one sentence on what it is.
        config: a `fclip.config.config` class with `kind: Literal[kind]`. A pin holds all of its other fields.
        write: writes the model that a config names in open_clip's local-directory form and returns its origin.
            Raises UserError where the model is unknown, missing, or cannot be reached.
        title_field: the field of the config that says which model of this kind it is; None where there is only one.
        path_fields: fields of the config that may name a local file or folder.
        name_form: how a command names a model of this kind; None where commands cannot.
        from_name: the config of the model that a command names so; None where the name is not of this kind.
    """

    kind: str
    label: str
    description: str
    config: type[Any]
    write: Callable[[Any, Request], Origin]
    title_field: str | None = None
    path_fields: tuple[str, ...] = ()
    name_form: str | None = None
    from_name: Callable[[str], Any | None] = _no_name


def base_models() -> Mapping[str, BaseModel]:
    """All declarations by kind."""
    return declared("fclip.base_models", BaseModel)


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
    """The config whose `asdict` gave `values`; raises KeyError, TypeError or ValueError for anything else."""
    if values["kind"] == "champion":
        return ChampionConfig(**{**values, "otherwise": base_model_from_json(values["otherwise"])})
    found: KindConfig = base_models()[values["kind"]].config(**values)
    return found


def settings(config: KindConfig) -> dict[str, Any]:
    """What a pin holds of a config, as JSON values: all of its fields but the kind."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(config)))  # type: ignore[call-overload]
    return {name: value for name, value in values.items() if name != "kind"}


def config_from_name(name: str) -> KindConfig | None:
    """The config of the base model that a person means by `name`; None where it is no name of a base model."""
    found = (model.from_name(name) for model in base_models().values())
    return next((config for config in found if config is not None), None)


def name_forms() -> list[str]:
    """How base models can be named, for messages."""
    return [model.name_form for model in base_models().values() if model.name_form]

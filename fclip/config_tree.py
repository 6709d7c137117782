"""Settings of a configuration, one by one: their key, type, default, description and, in a given configuration, value.

`describe` walks a config class (for the configuration reference), `effective` a configuration (for `fclip params`).
"""

import dataclasses
import difflib
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from fclip.config import REQUIRED, ConfigField, config_fields, config_kind, field_docs, inner_configs, is_config
from fclip.errors import UserError

PLAIN = {int: "integer", float: "number", str: "text", bool: "true or false", NoneType: "null", Any: "any value"}
_BARE = re.compile(r"[A-Za-z0-9_./<>-][A-Za-z0-9_./<> -]*")


@dataclass(frozen=True)
class Setting:
    """One field of a config class.

    Attributes:
        key: its path, such as `finetune.learning_rate` or `ingest.datasets.<name>.roles`.
        type: the type in words: "integer or null", "`keep` or `neutral`", "section".
        default: the default value; `REQUIRED` if it has none.
        description: the docstring below the field, on one line.
        is_section: whether it holds settings of its own, which other `Section`s describe.
        module: the module that declares it.
    """

    key: str
    type: str
    default: Any
    description: str
    is_section: bool
    module: str

    @property
    def summary(self) -> str:
        """The beginning of the description, to its first full stop or semicolon."""
        return re.split(r"(?<!et al)\.(?: |$)|; ", self.description)[0]


@dataclass(frozen=True)
class Section:
    """The settings of one config class at one place.

    Attributes:
        key: its path; "" for all settings, `ingest.datasets.<name>.source` for the source of a dataset,
            `average.methods.<n>` for an entry of a list.
        kind: the value of the key `kind` that selects this class; None where there is only one class.
        description: the docstring of the class, its first paragraph on one line.
        settings: its fields in order, without `kind`.
    """

    key: str
    kind: str | None
    description: str
    settings: tuple[Setting, ...]


@dataclass(frozen=True)
class Effective:
    """A setting in a configuration: its value, and whether this is the default."""

    setting: Setting
    value: Any
    is_default: bool


def describe(cls: type[Any], key: str = "", kind: str | None = None) -> Iterator[Section]:
    """The sections of a config class: its own settings, then those of its fields, one section for each kind."""
    fields = [each for each in config_fields(cls).values() if not (kind and each.name == "kind")]
    settings = tuple(_setting(cls, each, _join(key, each.name)) for each in fields)
    yield Section(key, kind, _first_paragraph(cls), settings)
    for field in fields:
        inner = inner_configs(field.annotation)
        for member in inner.classes:
            place = _join(key, field.name) + inner.places
            yield from describe(member, place, config_kind(member) if inner.by_kind else None)


def effective(config: Any, key: str = "", default: Any = REQUIRED) -> Iterator[Effective]:
    """The settings of a configuration in order; within a section its own settings come before its subsections.

    Entries of `datasets` and other mappings of configs are sections by their names. A list of configs is one setting.

    Args: default: the default configuration; `REQUIRED`: the defaults of the class, None: none of its values is a
    default.
    """
    cls = type(config)
    subsections = []
    for field in config_fields(cls).values():
        value, place = getattr(config, field.name), _join(key, field.name)
        own_default = getattr(default, field.name) if type(default) is cls else field.default
        if is_config(type(value)):
            subsections.append((value, place, own_default))
        elif _holds_configs(value):
            subsections += [(each, f"{place}.{name}", REQUIRED) for name, each in value.items()]
        else:
            yield Effective(_setting(cls, field, place), value, default is not None and _same(value, own_default))
    for value, place, own_default in subsections:
        yield from effective(value, place, own_default)


def find(cls: type[Any], key: str) -> list[tuple[Section, Setting]]:
    """The settings of a config class at `key`, one for each kind that has it; names of datasets stand for `<name>`."""
    return [
        (section, setting)
        for section in describe(cls)
        for setting in section.settings
        if _matches(setting.key.split("."), key.split("."))
    ]


def require_key(cls: type[Any], config: Any, key: str) -> None:
    """Raise UserError, naming the nearest key, unless `key` is a setting or a section of `config` or of its class."""
    known = {each.setting.key for each in effective(config)} | {
        setting.key for section in describe(cls) for setting in section.settings
    }
    known |= {place.rpartition(".")[0] for place in known} | {place.rsplit(".", 2)[0] for place in known}
    if key in known or find(cls, key):
        return
    ends = [place for place in known if place.endswith(f".{key}")]
    near = ends if len(ends) == 1 else difflib.get_close_matches(key, sorted(known), 1)
    advice = f"did you mean `{near[0]}`?" if near else "`fclip params` lists all keys"
    raise UserError(f"no setting `{key}`: {advice}")


def text_of(value: Any) -> str:
    """A value as one would write it on one line of params.yaml; "required" for a default that does not exist."""
    if value is REQUIRED:
        return "required"
    if dataclasses.is_dataclass(value):
        own = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return text_of(own)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{text_of(name)}: {text_of(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(text_of, value)) + "]"
    if isinstance(value, str):
        quoted = f"'{value}'" if "\\" in value and "'" not in value else json.dumps(value, ensure_ascii=False)
        return value if _BARE.fullmatch(value) else quoted
    if isinstance(value, float):
        short = f"{value:.1e}".replace("e-0", "e-")  # as YAML reads a number: 3.0e-4
        return short if 0 < abs(value) < 1e-2 and float(short) == value else repr(value)
    return json.dumps(value)


def type_text(annotation: Any) -> str:
    """A field's type in words."""
    inner = inner_configs(annotation)
    if inner.classes:
        kinds = f" with `kind`: {', '.join(map(config_kind, inner.classes))}" if inner.by_kind else ""
        what = {"one": "section", "by name": "sections by name", "list": "list of sections"}[inner.form] + kinds
        return f"{what}, or null" if NoneType in get_args(annotation) else what
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_text(arguments[0])
    if origin in (Union, UnionType):
        return " or ".join(map(type_text, arguments))
    if origin is Literal:
        *others, last = (f"`{each}`" for each in arguments)
        return f"{', '.join(others)} or {last}" if others else last
    if origin is dict:
        return f"{{name: {type_text(arguments[1])}}}"
    if origin is tuple and arguments[-1] is not Ellipsis:
        return "[" + ", ".join(map(type_text, arguments)) + "]"
    if origin in (list, tuple):
        return f"[{type_text(arguments[0])}, …]"
    return PLAIN.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _setting(cls: type[Any], field: ConfigField, key: str) -> Setting:
    description = field_docs(cls).get(field.name, "")
    if field.name == "kind":
        description = _first_paragraph(cls)
    is_section = bool(inner_configs(field.annotation).classes)
    return Setting(key, type_text(field.annotation), field.default, description, is_section, cls.__module__)


def _holds_configs(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(is_config(type(each)) for each in value.values())


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, list | tuple) and isinstance(default, list | tuple):
        return list(value) == list(default)
    return bool(value == default)


def _matches(pattern: list[str], key: list[str]) -> bool:
    return len(pattern) == len(key) and all(
        own in (given, "<name>") or (own == "<n>" and given.isdigit()) for own, given in zip(pattern, key, strict=True)
    )


def _first_paragraph(cls: type[Any]) -> str:
    return " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name

"""The configuration reference, generated from the config dataclasses of `flows.params.Params`."""

import inspect
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from fclip.config import ByKind, field_docs
from flows.params import Params

INTRODUCTION = """\
# Configuration

`params.yaml` has a section for each step. This page lists every key with its type, its default and its meaning.
It is generated from the config classes when the documentation is built.

- A key without a default is **required**.
- Unknown keys and wrong types are errors. The message names the key, the value and what is allowed.
- `<name>` stands for a name that you choose, such as that of a dataset.
- Where a value has a key `kind`, the kind decides which other keys are allowed.
- In YAML, write `1.0e-5`. PyYAML reads `1e-5` as text.
"""
NAMES = {int: "integer", float: "number", str: "text", bool: "true or false", type(None): "null", Any: "any value"}


@dataclass(frozen=True)
class Key:
    """One key of a config class."""

    name: str
    type: str
    default: str | None
    description: str


@dataclass(frozen=True)
class Group:
    """The keys of one config class, where they stand in params.yaml.

    Attributes:
        path: such as `ingest.datasets.<name>.source`.
        kind: the value of `kind` that selects this class; None where there is one class only.
        same_as: the path where the class was described before; None where this is the first place.
    """

    path: str
    kind: str | None
    summary: str
    keys: tuple[Key, ...]
    same_as: str | None


def page() -> str:
    """The page as Markdown."""
    parts = [INTRODUCTION]
    section = repeated = None
    for group in groups():
        if group.same_as:
            if group.path != repeated:
                parts.append(f"### `{group.path}` {{ #{_anchor(group.path, None)} }}")
                parts.append(f"The same keys as `{group.same_as}`.")
            repeated = group.path
            continue
        top = group.path.partition(".")[0]
        if top != section:
            section = top
            parts.append(f"## {top} {{ #{top} }}")
        if group.path != top or group.kind:
            kind = f": kind `{group.kind}`" if group.kind else ""
            parts.append(f"### `{group.path}`{kind} {{ #{_anchor(group.path, group.kind)} }}")
        if group.summary:
            parts.append(group.summary)
        parts += [_entry(group, key) for key in group.keys if not (group.kind and key.name == "kind")]
        if group.kind and len(group.keys) == 1:
            parts.append("This kind has no other keys.")
    return "\n\n".join(parts) + "\n"


def groups() -> Iterator[Group]:
    """Every config class in params.yaml, section by section."""
    hints = get_type_hints(Params, include_extras=True)
    described: dict[type[Any], str] = {}
    for field in fields(Params):
        yield from _groups(hints[field.name], field.name, (), described)


def known_keys() -> frozenset[str]:
    """Every key by its dotted path, with `*` for names that the user chooses."""
    found = {field.name for field in fields(Params)}
    for group in groups():
        path = group.path.replace("<name>", "*")
        found |= {path, *(f"{path}.{key.name}" for key in group.keys)}
    return frozenset(found)


def _groups(hint: Any, path: str, around: tuple[type[Any], ...], described: dict[type[Any], str]) -> Iterator[Group]:
    """The config classes in a type: itself, members of unions, elements of lists and mappings."""
    for below, cls, kind in _classes(hint, path):
        if cls in around:
            continue  # a config that contains itself is described once
        same_as = described.setdefault(cls, below)
        yield Group(below, kind, _summary(cls), tuple(_keys(cls)), None if same_as == below else same_as)
        hints = get_type_hints(cls, include_extras=True)
        for field in fields(cls):
            yield from _groups(hints[field.name], f"{below}.{field.name}", (*around, cls), described)


def _classes(hint: Any, path: str) -> Iterator[tuple[str, type[Any], str | None]]:
    """(path, config class, kind) for each config class that a type names directly."""
    if get_origin(hint) is Annotated:
        by_kind = next((each for each in hint.__metadata__ if isinstance(each, ByKind)), None)
        if by_kind is None:
            yield from _classes(get_args(hint)[0], path)
            return
        for member in by_kind.members():
            yield path, member, get_args(get_type_hints(member)["kind"])[0]
    elif get_origin(hint) is dict:
        yield from _classes(get_args(hint)[1], f"{path}.<name>")
    elif get_origin(hint) in (list, tuple, Union, types.UnionType):
        for each in get_args(hint):
            yield from _classes(each, path)
    elif is_dataclass(hint) and isinstance(hint, type):
        yield path, hint, None


def _keys(cls: type[Any]) -> Iterator[Key]:
    hints, docs = get_type_hints(cls, include_extras=True), field_docs(cls)  # type: ignore[arg-type]
    for field in fields(cls):
        yield Key(field.name, type_name(hints[field.name]), _default(field), docs.get(field.name, ""))


def type_name(hint: Any) -> str:
    """A type in words."""
    if get_origin(hint) is Annotated:
        if any(isinstance(each, ByKind) for each in hint.__metadata__):
            return "one of several kinds"
        return type_name(get_args(hint)[0])
    match get_origin(hint):
        case origin if origin is Literal:
            return " or ".join(f"`{value}`" for value in get_args(hint))
        case origin if origin is dict:
            return f"mapping of names to {_plural(type_name(get_args(hint)[1]))}"
        case origin if origin is list:
            return f"list of {_plural(type_name(get_args(hint)[0]))}"
        case origin if origin is tuple and get_args(hint)[1:] == (...,):
            return f"list of {_plural(type_name(get_args(hint)[0]))}"
        case origin if origin is tuple:
            return f"list of {len(get_args(hint))} {_plural(type_name(get_args(hint)[0]))}"
        case origin if origin in (Union, types.UnionType):
            return " or ".join(type_name(each) for each in get_args(hint))
    return NAMES.get(hint, "section" if is_dataclass(hint) else getattr(hint, "__name__", str(hint)))


def _plural(name: str) -> str:
    plurals = {"integer": "integers", "number": "numbers", "text": "texts", "section": "sections"}
    plurals |= {"one of several kinds": "sections, each of one of several kinds"}
    if name.startswith(("mapping of", "list of")):
        return name.replace("mapping of", "mappings of", 1).replace("list of", "lists of", 1)
    return plurals.get(name, name)


def _default(field: Field[Any]) -> str | None:
    """The default as YAML; "" for that of a section, which its own keys tell; None where there is none."""
    value = field.default if field.default is not MISSING else MISSING
    if value is MISSING and field.default_factory is not MISSING:
        value = field.default_factory()
    if value is MISSING:
        return None
    if is_dataclass(value):
        return ""
    text = yaml.safe_dump(_plain(value), default_flow_style=True, allow_unicode=True, sort_keys=False, width=10**6)
    return str(text).removesuffix("...\n").strip()


def _plain(value: Any) -> Any:
    """The value as YAML holds it: configs as mappings, tuples as lists."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def _summary(cls: type[Any]) -> str:
    """The first paragraph of a class's docstring."""
    return " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())


def _entry(group: Group, key: Key) -> str:
    """A key as an entry of a definition list."""
    type_and_default = key.type
    if key.default is None:
        type_and_default += ", **required**"
    elif key.default and len(key.default) <= 60 and "\n" not in key.default:
        type_and_default += f", default `{key.default}`"
    if key.type.startswith("section"):
        type_and_default = type_and_default.replace(
            "section", f"[section](#{group.path}.{key.name})".replace(".<name>", "")
        )
    lines = [f"`{key.name}`{{ #{_anchor(f'{group.path}.{key.name}', group.kind, key=True)} }} · {type_and_default}"]
    lines.append(f":   {key.description or '—'}")
    if key.default and (len(key.default) > 60 or "\n" in key.default):
        block = yaml.safe_dump(yaml.safe_load(key.default), allow_unicode=True, sort_keys=False, width=10**6)
        lines += ["", "    Default:", "", "    ```yaml", *(f"    {line}" for line in block.splitlines()), "    ```"]
    return "\n".join(lines)


def _anchor(path: str, kind: str | None, *, key: bool = False) -> str:
    """The id of a group, or of a key; a section has both, as a key of the section around it."""
    return ("key." if key else "") + path.replace(".<name>", "") + (f"-{kind}" if kind else "")

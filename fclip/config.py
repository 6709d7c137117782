"""The form of every configuration: a frozen, keyword-only dataclass that refuses unknown keys."""

import ast
import dataclasses
import difflib
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, dataclass_transform, get_args, get_origin, get_type_hints

from fclip.errors import UserError

T = TypeVar("T")
REQUIRED = dataclasses.MISSING
"""The default of a field that has none: params.yaml must set it."""
FEW_KEYS = 12
"""An error lists the keys of a section that has no more than this."""


@dataclass_transform(kw_only_default=True, frozen_default=True)
def config(cls: type[T]) -> type[T]:
    """Make `cls` a frozen, keyword-only dataclass for which pydantic, where it is used, forbids unknown keys.

    The GPU core builds these without pydantic; `parse_config` parses a file's values into them with it.
    Range checks go into `__post_init__` and raise `ValueError`.
    """
    cls.__pydantic_config__ = {"extra": "forbid"}  # type: ignore[attr-defined]
    return dataclass(frozen=True, kw_only=True)(cls)


def is_config(cls: object) -> bool:
    """Whether `cls` is a class that `config` made."""
    return isinstance(cls, type) and dataclasses.is_dataclass(cls) and hasattr(cls, "__pydantic_config__")


def field_docs(cls: Any) -> Mapping[str, str]:
    """The docstring literal under each field of a config class, by the field's name, on one line.

    A field without one is left out. Base classes are not read.
    """
    return _field_docs(cls)


@cache
def _field_docs(cls: Any) -> Mapping[str, str]:
    definition = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(definition, ast.ClassDef)
    docs = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                docs[name] = " ".join(text.split())
    return MappingProxyType(docs)


@dataclass(frozen=True)
class ConfigField:
    """One field of a config class: its name, its resolved type and its default (`REQUIRED` if it has none)."""

    name: str
    annotation: Any
    default: Any


def config_fields(cls: Any) -> Mapping[str, ConfigField]:
    """The fields of a config class by name, in their order."""
    return _config_fields(cls)


@cache
def _config_fields(cls: Any) -> Mapping[str, ConfigField]:
    hints = get_type_hints(cls, include_extras=True)
    fields = {}
    for field in dataclasses.fields(cls):
        default = field.default if field.default_factory is REQUIRED else field.default_factory()
        fields[field.name] = ConfigField(field.name, hints[field.name], default)
    return MappingProxyType(fields)


@dataclass(frozen=True)
class ByKind:
    """In `Annotated[Form, ByKind(members)]`: one of several configs, told apart by their key `kind`.

    Without it pydantic tries every member and reports the errors of all.

    Attributes:
        members: gives the configs, each with a `kind` of type `Literal`; called when a value is first parsed.
    """

    members: Callable[[], Iterable[type[Any]]]

    def by_name(self) -> dict[str, type[Any]]:
        """The configs by the value of their key `kind`."""
        return {config_kind(member): member for member in self.members()}

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic import Discriminator, Tag

        members = self.by_name()
        tagged = [Annotated[member, Tag(kind)] for kind, member in members.items()]
        kind = Discriminator(
            lambda value: value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None),
            custom_error_type="unknown_kind",
            custom_error_message=f"`kind` must be one of {', '.join(members)}",
        )
        return handler.generate_schema(Annotated[Union[tuple(tagged)], kind])  # noqa: UP007


def config_kind(cls: type[Any]) -> str:
    """The value of the key `kind` of a config class that is one of several."""
    kind: str = get_args(get_type_hints(cls)["kind"])[0]
    return kind


@dataclass(frozen=True)
class Inner:
    """The config classes inside a type.

    Attributes:
        classes: the class, or one class for each kind; empty for a plain value.
        form: "one" config, several "by name" (a mapping), or a "list" of them.
        by_kind: whether the key `kind` decides between the classes.
    """

    classes: tuple[type[Any], ...] = ()
    form: Literal["one", "by name", "list"] = "one"
    by_kind: bool = False

    @property
    def places(self) -> str:
        """What follows the key of the field in the key of such a config."""
        return {"one": "", "by name": ".<name>", "list": ".<n>"}[self.form]


def inner_configs(annotation: Any) -> Inner:
    """The config classes inside a type: `X`, `X | None`, `dict[str, X]`, `list[X]`, or one of several by kind."""
    arguments = get_args(annotation)
    match get_origin(annotation):
        case origin if origin is Annotated:
            by_kind = next((each for each in arguments if isinstance(each, ByKind)), None)
            return Inner(tuple(by_kind.members()), by_kind=True) if by_kind else inner_configs(arguments[0])
        case origin if origin in (Union, UnionType):
            return next((found for each in arguments if (found := inner_configs(each)).classes), Inner())
        case origin if origin is dict:
            return dataclasses.replace(inner_configs(arguments[1]), form="by name")
        case origin if origin in (list, tuple):
            return dataclasses.replace(inner_configs(arguments[0]), form="list")
    return Inner((annotation,)) if is_config(annotation) else Inner()


def parse_config(value: Any, kind: type[T], *, where: object, section: str = "") -> T:
    """`value`, read from `section` of the file `where`, as a `kind`; raises UserError naming every fault by its key."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        faults = "\n".join(f"  {_fault(section, kind, value, fault)}" for fault in error.errors(include_url=False))
        raise UserError(f"{where}:\n{faults}") from error


def _fault(section: str, kind: Any, value: Any, fault: Any) -> str:
    keys = _keys(value, fault["loc"])
    key = ".".join(part for part in (section, *keys) if part)
    match fault["type"]:
        case "unexpected_keyword_argument" | "extra_forbidden":
            return f"{key}: unknown key; {_advice(section, kind, value, keys)}"
        case "missing" | "missing_argument" | "missing_keyword_only_argument":
            return f"{key}: is missing{_default_section(kind, value, keys)}"
        case "dataclass_type" if fault["input"] is None and (advice := _default_section(kind, value, keys)):
            return f"{key}: is empty{advice}"
    message = fault["msg"].removeprefix("Value error, ")
    message = f"{message[0].lower()}{message[1:]}"
    given = fault["input"]
    if fault["type"] == "unknown_kind" and isinstance(given, dict):
        return f"{key}: {message}, not {given.get('kind')!r}"
    if not key or isinstance(given, dict):  # the message of a range check names the value; the section would hide it
        return f"{key}: {message}" if key else message
    return f"{key}: {message} (got {given!r})"


def _keys(value: Any, location: tuple[int | str, ...]) -> list[str]:
    """The keys of the file on the way to a fault: pydantic puts the kind of a union's member among them."""
    keys = []
    for number, part in enumerate(location, start=1):
        inside = part in value if isinstance(value, dict) else isinstance(value, list) and isinstance(part, int)
        if inside or number == len(location):
            keys.append(str(part))
        if inside:
            value = value[part]
    return keys


def _advice(section: str, kind: Any, value: Any, keys: Sequence[str]) -> str:
    """What to do about the unknown key at the end of `keys`."""
    *parents, name = keys
    owner = _type_at(kind, value, parents)
    known = list(config_fields(owner)) if is_config(owner) else []
    if near := difflib.get_close_matches(name, known, 1, cutoff=0.8):
        return f"did you mean `{near[0]}`?"
    for number in reversed(range(len(parents) + 1)):
        if place := _only_place(section, kind, value, parents[:number], name):
            return f"did you mean `{place}`?"
    if near := difflib.get_close_matches(name, known, 1):
        return f"did you mean `{near[0]}`?"
    if known and len(known) <= FEW_KEYS:
        return f"the keys here are {', '.join(known)}"
    return (
        f"`{' '.join(['fclip params', *filter(None, ['.'.join(filter(None, [section, *parents]))])])}` lists the keys"
    )


def _default_section(kind: Any, value: Any, keys: Sequence[str]) -> str:
    """Advice for a section that is not there, if every key in it has a default."""
    inner = inner_configs(_type_at(kind, value, keys))
    if inner.form != "one" or len(inner.classes) != 1:
        return ""
    if any(field.default is REQUIRED for field in config_fields(inner.classes[0]).values()):
        return ""
    return f": add `{keys[-1]}: {{}}`, which takes every default (DVC needs the key in the file)"


def _type_at(annotation: Any, value: Any, keys: Sequence[str]) -> Any:
    """The type of the value at `keys` inside `value`, a config class where it is one; None where there is none."""
    for key in keys:
        annotation = _chosen(annotation, value)
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin is dict:
            annotation = arguments[1]
        elif origin in (list, tuple):
            annotation = arguments[0]
        elif is_config(annotation) and key in config_fields(annotation):
            annotation = config_fields(annotation)[key].annotation
        else:
            return None
        try:
            value = value[int(key) if isinstance(value, list) else key]
        except (KeyError, IndexError, TypeError, ValueError):
            value = None
    return _chosen(annotation, value)


def _chosen(annotation: Any, value: Any) -> Any:
    """`annotation` without what wraps it: of several kinds the one that `value` names, of `X | None` the X."""
    arguments = get_args(annotation)
    if get_origin(annotation) is Annotated:
        by_kind = next((each for each in arguments if isinstance(each, ByKind)), None)
        kind = value.get("kind") if isinstance(value, dict) else None
        return by_kind.by_name().get(kind) if by_kind and kind else None if by_kind else _chosen(arguments[0], value)
    if get_origin(annotation) in (Union, UnionType):
        return next((each for each in arguments if each is not NoneType and inner_configs(each).classes), annotation)
    return annotation


def _only_place(section: str, kind: Any, value: Any, parents: Sequence[str], name: str) -> str | None:
    """The only key called `name` below `parents`; None if there is none, or more than one."""
    places = set(_places(_type_at(kind, value, parents), name))
    return ".".join(part for part in (section, *parents, places.pop()) if part) if len(places) == 1 else None


def _places(annotation: Any, name: str) -> Iterator[str]:
    """The paths of all fields called `name` inside a type."""
    inner = inner_configs(annotation)
    start = [inner.places.removeprefix(".")] if inner.places else []
    for cls in inner.classes:
        for field in config_fields(cls).values():
            if field.name == name:
                yield ".".join([*start, name])
            for place in _places(field.annotation, name):
                yield ".".join([*start, field.name, place])

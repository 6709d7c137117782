"""The form of every configuration: a frozen, keyword-only dataclass that refuses unknown keys."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, TypeVar, Union, dataclass_transform, get_args, get_type_hints

from fclip.errors import UserError

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def config(cls: type[T]) -> type[T]:
    """Make `cls` a frozen, keyword-only dataclass for which pydantic, where it is used, forbids unknown keys.

    The GPU core builds these without pydantic; `parse_config` parses a file's values into them with it.
    Range checks go into `__post_init__` and raise `ValueError`.
    """
    cls.__pydantic_config__ = {"extra": "forbid"}  # type: ignore[attr-defined]
    return dataclass(frozen=True, kw_only=True)(cls)


@cache
def field_docs(cls: type[Any]) -> Mapping[str, str]:
    """The docstring literal under each field of a config class, by the field's name, on one line.

    A field without one is left out. Base classes are not read.
    """
    definition = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(definition, ast.ClassDef)
    docs = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                docs[name] = " ".join(text.split())
    return MappingProxyType(docs)


@dataclass(frozen=True)
class ByKind:
    """In `Annotated[Form, ByKind(members)]`: one of several configs, told apart by their key `kind`.

    Without it pydantic tries every member and reports the faults of all.

    Attributes:
        members: gives the configs, each with a `kind` of type `Literal`; asked when a value is first parsed.
    """

    members: Callable[[], Iterable[type[Any]]]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic import Discriminator, Tag

        members = {get_args(get_type_hints(member)["kind"])[0]: member for member in self.members()}
        tagged = [Annotated[member, Tag(kind)] for kind, member in members.items()]
        kind = Discriminator(
            lambda value: value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None),
            custom_error_type="unknown_kind",
            custom_error_message=f"`kind` must be one of {', '.join(members)}",
        )
        return handler.generate_schema(Annotated[Union[tuple(tagged)], kind])  # noqa: UP007


def parse_config(value: Any, kind: type[T], *, where: object, section: str = "") -> T:
    """`value`, read from `section` of the file `where`, as a `kind`; raises UserError naming every fault by its key."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        faults = "\n".join(f"  {_fault(section, value, fault)}" for fault in error.errors(include_url=False))
        raise UserError(f"{where}:\n{faults}") from error


def _fault(section: str, value: Any, fault: Any) -> str:
    key = ".".join(part for part in (section, *_keys(value, fault["loc"])) if part)
    match fault["type"]:
        case "unexpected_keyword_argument" | "extra_forbidden":
            return f"{key}: unknown key; remove it or mend its spelling"
        case "missing" | "missing_argument" | "missing_keyword_only_argument":
            return f"{key}: is missing"
    message = fault["msg"].removeprefix("Value error, ")
    said = f"{message[0].lower()}{message[1:]}"
    return f"{key}: {said} (got {fault['input']!r})" if key else said


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

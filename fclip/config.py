"""The form of every configuration: a frozen, keyword-only dataclass that refuses unknown keys."""

from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, Union, dataclass_transform, get_args, get_type_hints

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def config(cls: type[T]) -> type[T]:
    """Make `cls` a frozen, keyword-only dataclass for which pydantic, where it is used, forbids unknown keys.

    The GPU core builds these without pydantic; `tasks.params` parses params.yaml into them with it.
    Range checks go into `__post_init__` and raise `ValueError`.
    """
    cls.__pydantic_config__ = {"extra": "forbid"}  # type: ignore[attr-defined]
    return dataclass(frozen=True, kw_only=True)(cls)


class ByKind:
    """In `Annotated[A | B, ByKind()]`: configs told apart by their `kind`, so that an error is of the one meant.

    Without it pydantic tries every member and reports the faults of all.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic import Discriminator, Tag

        members = {get_args(get_type_hints(member)["kind"])[0]: member for member in get_args(source)}
        tagged = [Annotated[member, Tag(kind)] for kind, member in members.items()]
        kind = Discriminator(
            lambda value: value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None),
            custom_error_type="unknown_kind",
            custom_error_message=f"`kind` must be one of {', '.join(members)}",
        )
        return handler.generate_schema(Annotated[Union[tuple(tagged)], kind])  # noqa: UP007

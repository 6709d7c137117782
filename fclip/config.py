"""The form of every configuration: a frozen, keyword-only dataclass that refuses unknown keys."""

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def config(cls: type[T]) -> type[T]:
    """Make `cls` a frozen, keyword-only dataclass for which pydantic, where it is used, forbids unknown keys.

    The GPU core builds these without pydantic; `tasks.params` parses params.yaml into them with it.
    Range checks go into `__post_init__` and raise `ValueError`.
    """
    cls.__pydantic_config__ = {"extra": "forbid"}  # type: ignore[attr-defined]
    return dataclass(frozen=True, kw_only=True)(cls)

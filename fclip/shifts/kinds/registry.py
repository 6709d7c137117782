"""The registry of shifts. Each module of this package declares one kind.

To add a kind, add one file here: its config, its function, and a `ShiftKind` that declares them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from fclip.extensions import collect_declarations

if TYPE_CHECKING:
    from PIL import Image  # imported only here to keep the parsing of params fast


class ShiftConfig(Protocol):
    """The config of a shift, a frozen dataclass. Each kind has its own config class."""

    @property
    def kind(self) -> str: ...


@dataclass(frozen=True)
class ShiftKind:
    """The declaration of one kind of shift.

    Attributes:
        kind: the name in params.yaml: the value of the config's field `kind`.
        label: a few words for tables.
        description: one sentence for people.
        config: the dataclass of the kind's options.
        make: `make(shift, image, seed)` returns the changed copy of an RGB image as the bytes of a JPEG file; None if
            it cannot be made of this image. Its random choices depend on the text `seed` alone.
        refusal: why a copy cannot be made, in words that follow "each"; None if it always can.
    """

    kind: str
    label: str
    description: str
    config: type[Any]
    make: Callable[[Any, Image.Image, str], bytes | None]
    refusal: str | None = None


def shift_kinds() -> Mapping[str, ShiftKind]:
    """Return the kinds of shift by name."""
    return collect_declarations("fclip.shifts.kinds", ShiftKind)

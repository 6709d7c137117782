"""Pins: small JSON files in git that record the versions of remote inputs that a workspace uses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from fclip.errors import UserError
from fclip.files import read_json, write_json
from fclip.registry.versions import VersionPin
from tasks.workspace.paths import Workspace

T = TypeVar("T")


class Pin(Protocol):
    """A value that can be written to a pin file."""

    def to_json(self) -> dict[str, Any]: ...


def read_pin(path: Path, from_json: Callable[[Any], T]) -> T | None:
    """Return the pin in a file, or None if the file does not exist or contains `{}`.

    Args:
        from_json: builds the pin from JSON values; raises ValueError for other values.

    Raises:
        UserError: the file contains no valid pin.
    """
    try:
        values = read_json(path) if path.exists() else {}
        return from_json(values) if values != {} else None
    except ValueError as error:
        raise UserError(f"{path} contains no valid pin ({error}); run `fclip pin` to write it again") from error


def write_pin(path: Path, pin: Pin | None) -> bool:
    """Write a pin (None: an empty pin) unless the file already contains it. Return whether it was written."""
    if contains_pin(path, pin):
        return False
    write_json(path, _values(pin))
    return True


def contains_pin(path: Path, pin: Pin | None) -> bool:
    """Whether the file contains exactly this pin. A missing file counts as an empty pin."""
    try:
        return bool(_values(pin) == (read_json(path) if path.exists() else {}))
    except ValueError:  # invalid JSON
        return False


def read_champion(workspace: Workspace) -> VersionPin | None:
    """Return the pinned champion, or None if there is none. Raises UserError for an invalid pin."""
    return read_pin(workspace.champion_pin, VersionPin.from_json)


def _values(pin: Pin | None) -> dict[str, Any]:
    return pin.to_json() if pin else {}

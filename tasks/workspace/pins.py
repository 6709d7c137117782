"""Pins: small JSON files in git that say what a workspace last saw of the outside world."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from fclip.errors import UserError
from fclip.files import read_json, write_json
from fclip.registry.versions import VersionPin
from tasks.workspace.paths import Workspace

T = TypeVar("T")


class Pin(Protocol):
    """What can be written to a pin file."""

    def to_json(self) -> dict[str, Any]: ...


def read_pin(path: Path, from_json: Callable[[Any], T]) -> T | None:
    """The pin in a file; None while nothing is pinned in it: it holds `{}`, or does not exist.

    Args:
        from_json: makes the pin from JSON values; raises ValueError where they are none.

    Raises:
        UserError: the file holds something else than a pin.
    """
    try:
        values = read_json(path) if path.exists() else {}
        return from_json(values) if values != {} else None
    except ValueError as error:
        raise UserError(f"{path} does not hold a pin ({error}): run `fclip pin` to write it again") from error


def write_pin(path: Path, pin: Pin | None) -> bool:
    """Write a pin (None: nothing is pinned) where the file does not hold it yet; returns whether it was written."""
    if holds(path, pin):
        return False
    write_json(path, _values(pin))
    return True


def holds(path: Path, pin: Pin | None) -> bool:
    """Whether a file holds just this pin; one that does not exist holds none."""
    try:
        return bool(_values(pin) == (read_json(path) if path.exists() else {}))
    except ValueError:  # no JSON
        return False


def read_champion(workspace: Workspace) -> VersionPin | None:
    """The pinned champion; None while there is none. Raises UserError for a file that holds no pin."""
    return read_pin(workspace.champion_pin, VersionPin.from_json)


def _values(pin: Pin | None) -> dict[str, Any]:
    return pin.to_json() if pin else {}

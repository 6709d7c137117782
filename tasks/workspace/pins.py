"""Pins: small JSON files in git that say what a workspace last saw of the outside world."""

from pathlib import Path
from typing import Any

from fclip.files import read_json


def read_pin(path: Path) -> dict[str, Any]:
    """A pin's content; `{}` is one that nothing has been pinned in yet, as is a file that does not exist."""
    return dict(read_json(path)) if path.exists() else {}

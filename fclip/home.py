"""The folder of what fclip keeps for a user: the embedded registry, downloaded packages, converted models."""

import os
from pathlib import Path


def fclip_home() -> Path:
    """Return `$FCLIP_HOME`, otherwise `fclip` in the user's data folder."""
    if chosen := os.environ.get("FCLIP_HOME"):
        return Path(chosen).expanduser().resolve()
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser().resolve() / "fclip"

"""Whether Prefect is configured to use a server, found without importing Prefect, which takes seconds."""

import os
import tomllib
from pathlib import Path
from typing import Any

SETTING = "PREFECT_API_URL"


def has_server() -> bool:
    """Return whether the environment, the active profile or a settings file of Prefect names a server.

    If a settings file cannot be understood, a server is assumed, and Prefect decides.
    """
    if SETTING in os.environ:
        return bool(os.environ[SETTING])
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    profiles = Path(os.environ.get("PREFECT_PROFILES_PATH", home / "profiles.toml")).expanduser()
    try:
        stored = _read(profiles)
        active = os.environ.get("PREFECT_PROFILE") or stored.get("active")
        named = [stored.get("profiles", {}).get(active, {}).get(SETTING), _read(Path("prefect.toml")).get("api")]
        named += [_read(Path("pyproject.toml")).get("tool", {}).get("prefect")]
        return any(named) or (Path(".env").is_file() and SETTING in Path(".env").read_text(encoding="utf-8"))
    except (OSError, ValueError, AttributeError):
        return True


def _read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

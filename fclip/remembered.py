"""Results of slow reads, remembered in files with the state of everything that they depend on.

A remembered result is used only while its state is the same, and never instead of a check: models are verified by
their digests before they are trained, registered or published.
"""

from pathlib import Path
from typing import Any

from fclip.files import read_json, sha256_json, write_json


def recall(path: Path, state: Any) -> Any | None:
    """Return the result that `remember` stored at `path` for the same state; None if there is none.

    Args:
        state: a JSON value; None is never equal to a stored state.
    """
    try:
        stored = read_json(path)
        known = stored["state_sha256"] == sha256_json(state) and stored["result_sha256"] == sha256_json(
            stored["result"]
        )
        return stored["result"] if state is not None and known else None
    except (OSError, ValueError, KeyError, TypeError):  # missing or damaged: not remembered
        return None


def remember(path: Path, state: Any, result: Any) -> None:
    """Store `result`, a JSON value, at `path` for `state`. Nothing is stored for the state None."""
    if state is not None:
        write_json(path, {"state_sha256": sha256_json(state), "result": result, "result_sha256": sha256_json(result)})

"""What a person asks of a workspace: is it stale, who is champion, what does search read."""

from datetime import UTC, datetime
from typing import Any

from fclip.files import read_json
from flows.pipeline import read_pipeline
from tasks.commit import pending
from tasks.params import Base, load_section
from tasks.paths import Workspace
from tasks.pins import read_pin


def read_status(workspace: Workspace) -> list[tuple[str, str]]:
    """(label, sentence) pairs. Reads pins, DVC's status and the published pointer; asks no server."""
    base = load_section(workspace, "base", Base)
    return [
        ("workspace", f"{base.workspace} in {workspace.root}"),
        ("stale", _stale(workspace)),
        ("start", _start(workspace)),
        ("champion", _champion(workspace)),
        ("selected", _selected(workspace)),
        ("search", _published(workspace)),
        ("to commit", ", ".join(pending(workspace)) or "nothing"),
    ]


def _stale(workspace: Workspace) -> str:
    pipeline = read_pipeline(workspace)
    stale = [stage for stage in pipeline.stages if stage in pipeline.stale]
    return ", ".join(stale) if stale else "nothing: every stage is as its params, code, pins and data say"


def _start(workspace: Workspace) -> str:
    pin = read_pin(workspace.start_pin)
    if not pin:
        return "not pinned yet"
    if pin.get("champion"):
        return f"the champion as pinned: {_version(pin['champion'])}"
    cold = pin.get("otherwise", pin)
    named = cold["from"].get("model") or cold["from"].get("path") or ""
    return f"{cold['kind']} {named} ({cold['model_sha256'][:12]})"


def _champion(workspace: Workspace) -> str:
    pin = read_pin(workspace.champion_pin)
    return _version(pin) if pin else "none yet"


def _version(pin: dict[str, Any]) -> str:
    return f"version {pin['version']} of {pin['registered_model']} ({pin['model_sha256'][:12]})"


def _selected(workspace: Workspace) -> str:
    if not workspace.selection.exists():
        return "nothing yet"
    selection = read_json(workspace.selection)
    return f"{selection['winner']}: {selection['reason']}"


def _published(workspace: Workspace) -> str:
    if not workspace.published_pointer.exists():
        return "nothing is published yet"
    pointer = read_json(workspace.published_pointer)
    manifest = read_json(workspace.published / pointer["embeddings"] / "manifest.json")
    when = datetime.fromtimestamp(workspace.published_pointer.stat().st_mtime, UTC)
    what = f"{manifest['num_products']} products embedded by {pointer['model_sha256'][:12]}"
    return f"{what}, published {when:%Y-%m-%d %H:%M} UTC"

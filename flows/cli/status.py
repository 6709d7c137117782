"""Commands that show a workspace and its registered models: `status`, `models`."""

from datetime import UTC, datetime

from rich.table import Table

from fclip.files import read_json
from fclip.selection.result import read_selection
from flows.cli.terminal import console, workspace_here
from flows.pipeline import read_pipeline
from tasks.base_model import read_base_model_pin
from tasks.commit import pending
from tasks.workspace.params import Base, load_section
from tasks.workspace.paths import Workspace
from tasks.workspace.pins import read_champion


def status() -> None:
    """What is stale, who is champion, what search reads."""
    workspace = workspace_here()
    for label, said in read_status(workspace):
        console.print(f"[bold]{label:<11}[/bold] {said}", highlight=False)


def models() -> None:
    """The registered versions: aliases, digests, scores."""
    from fclip.registry import store, tags

    base = load_section(workspace_here(), "base", Base)
    versions = store.versions(base.registered_model)
    if not versions:
        console.print(f"{base.registered_model} has no version yet in {store.tracking_uri()}: run `fclip retrain`")
        return
    table = Table(
        "version", "alias", "created", "model_sha256", "commit", "note", title=base.registered_model, box=None
    )
    for version in versions:
        table.add_row(
            str(version.version),
            ", ".join(version.aliases),
            f"{version.created_at:%Y-%m-%d %H:%M}",
            version.model_sha256[:12],
            version.tags.get(tags.CLOSING_COMMIT, "")[:12],
            "rolled back" if version.rolled_back else "",
        )
    console.print(table)


def read_status(workspace: Workspace) -> list[tuple[str, str]]:
    """(label, sentence) pairs. Reads pins, DVC's status and the published pointer; asks no server."""
    base = load_section(workspace, "base", Base)
    return [
        ("workspace", f"{base.workspace} in {workspace.root}"),
        ("stale", _stale(workspace)),
        ("base model", _base_model(workspace)),
        ("champion", _champion(workspace)),
        ("selected", _selected(workspace)),
        ("search", _published(workspace)),
        ("to commit", ", ".join(pending(workspace)) or "nothing"),
    ]


def _stale(workspace: Workspace) -> str:
    pipeline = read_pipeline(workspace)
    stale = [stage for stage in pipeline.stages if stage in pipeline.stale]
    return ", ".join(stale) if stale else "nothing: every stage is as its params, code, pins and data say"


def _base_model(workspace: Workspace) -> str:
    pin = read_base_model_pin(workspace)
    return f"{pin.title} ({pin.model_sha256[:12]})" if pin else "not pinned yet"


def _champion(workspace: Workspace) -> str:
    pin = read_champion(workspace)
    return f"{pin.title} ({pin.model_sha256[:12]})" if pin else "none yet"


def _selected(workspace: Workspace) -> str:
    if not workspace.selection.exists():
        return "nothing yet"
    selection = read_selection(workspace.selection)
    return f"{selection.winner}: {selection.reason}"


def _published(workspace: Workspace) -> str:
    if not workspace.published_pointer.exists():
        return "nothing is published yet"
    pointer = read_json(workspace.published_pointer)
    manifest = read_json(workspace.published / pointer["embeddings"] / "manifest.json")
    when = datetime.fromtimestamp(workspace.published_pointer.stat().st_mtime, UTC)
    what = f"{manifest['num_products']} products embedded by {pointer['model_sha256'][:12]}"
    return f"{what}, published {when:%Y-%m-%d %H:%M} UTC"

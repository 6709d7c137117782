"""The commands `status` and `models`, which show a workspace and its registered models."""

from datetime import datetime

from flows.cli.here import workspace_here
from flows.cli.terminal import console
from tasks.workspace.paths import Workspace

# Modules that take long to import are imported in the functions that use them, so that `--help` is fast.


def status() -> None:
    """Show stale stages, the base model, the champion, the selected model and the published embeddings."""
    workspace = workspace_here()
    for label, text in read_status(workspace):
        console.print(f"[bold]{label:<11}[/bold] {text}", highlight=False)


def models() -> None:
    """List the registered versions: aliases, creation times, digests, closing commits, and what people decided."""
    from rich.markup import escape
    from rich.table import Table

    from fclip.registry import store, tags
    from fclip.registry.decisions import decisions
    from tasks.workspace.params import Base, load_section

    base = load_section(workspace_here(), "base", Base)
    versions = store.versions(base.registered_model)
    if not versions:
        console.print(f"{base.registered_model} has no version in {store.tracking_uri()}; run `fclip retrain`")
        return
    table = Table(
        "version", "alias", "created", "model_sha256", "commit", "note", title=base.registered_model, box=None
    )
    for version in versions:
        notes = ["rolled back"] if version.rolled_back else []
        notes += [decision.words for decision in decisions(version)[-1:]]
        table.add_row(
            str(version.version),
            ", ".join(version.aliases),
            f"{version.created_at:%Y-%m-%d %H:%M}",
            version.model_sha256[:12],
            version.tags.get(tags.CLOSING_COMMIT, "")[:12],
            escape("; ".join(notes)),
        )
    console.print(table)


def read_status(workspace: Workspace) -> list[tuple[str, str]]:
    """Return (label, text) pairs from pins, the DVC status and the published pointer. No request to a server."""
    from tasks.commit import pending_changes
    from tasks.workspace.params import Base, load_section

    base = load_section(workspace, "base", Base)
    return [
        ("workspace", f"{base.workspace} in {workspace.root}"),
        ("stale", _stale(workspace)),
        ("base model", _base_model(workspace)),
        ("champion", _champion(workspace)),
        ("selected", _selected(workspace)),
        ("search", _published(workspace)),
        ("to commit", ", ".join(pending_changes(workspace)) or "no changes"),
    ]


def _stale(workspace: Workspace) -> str:
    from flows.pipeline import read_pipeline

    pipeline = read_pipeline(workspace)
    stale = [stage for stage in pipeline.stages if stage in pipeline.stale]
    return ", ".join(stale) if stale else "no stage: all outputs match their params, code, pins and data"


def _base_model(workspace: Workspace) -> str:
    from tasks.base_model import read_base_model_pin

    pin = read_base_model_pin(workspace)
    return f"{pin.title} ({pin.model_sha256[:12]})" if pin else "not pinned"


def _champion(workspace: Workspace) -> str:
    from tasks.workspace.pins import read_champion

    pin = read_champion(workspace)
    return f"{pin.title} ({pin.model_sha256[:12]})" if pin else "none"


def _selected(workspace: Workspace) -> str:
    from fclip.selection.result import read_selection

    if not workspace.selection.exists():
        return "no candidate selected"
    selection = read_selection(workspace.selection)
    return f"{selection.winner}: {selection.reason}"


def _published(workspace: Workspace) -> str:
    from fclip.errors import UserError
    from fclip.search.manifest import read_manifest
    from fclip.search.published import Published

    published = Published(workspace.published)
    if not published.has("champion"):
        return "no index published"
    try:
        publication = published.pointer("champion").current
        manifest = read_manifest(published.index_folder(publication))
    except UserError as error:
        return str(error)
    when = datetime.fromisoformat(publication.since)
    products = f"{manifest.num_products:,} products embedded by {publication.model_sha256[:12]}"
    return f"{products}, published {when:%Y-%m-%d %H:%M} UTC; `fclip index` shows more"

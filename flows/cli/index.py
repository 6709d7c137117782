"""The commands `index`, `publish` and `takedown`, which show and change what is published."""

import json
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.here import workspace_here

if TYPE_CHECKING:
    from fclip.search.published import Published, Role


def index(
    rollback: Annotated[bool, typer.Option("--rollback", help="Go back to the index before.")] = False,
    challenger: Annotated[
        bool, typer.Option("--challenger", help="With --rollback: go back to the challenger's index before.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the published indexes: since when, by which version, size, recall and history."""
    from fclip.search.published import ROLES, Published

    workspace = workspace_here()
    if rollback:
        from tasks.publish import roll_back_index

        roll_back_index(workspace, "challenger" if challenger else "champion")
    published = Published.find(workspace.root)
    described = {role: _describe(published, role) for role in ROLES if published.has(role)}
    taken_down = [asdict(each) for each in published.exclusions()]
    if as_json:
        typer.echo(json.dumps({**described, "taken_down": taken_down}, ensure_ascii=False, indent=2))
        return
    for role, values in described.items():
        _print(role, values)
    if taken_down:
        typer.echo(f"taken down  {', '.join(each['product_id'] for each in taken_down)}")


def publish(
    challenger: Annotated[
        bool,
        typer.Option("--challenger", help="Embed with the registered challenger, and publish its index beside."),
    ] = False,
) -> None:
    """Build the index of the embedded catalog, and point search to it when it has passed its checks."""
    from tasks import publish as steps
    from tasks.workspace.lock import run_lock

    workspace = workspace_here()
    with run_lock(workspace, "fclip publish"):
        done = steps.publish_challenger(workspace) if challenger else steps.publish(workspace)
    if done is None:
        typer.echo("There is no challenger besides the champion, so no index of a challenger is published.")
        return
    how = "published" if done.changed else "already published:"
    typer.echo(f"{done.role}: {how} the index {done.index} of {done.num_products:,} products ({done.reason})")


def takedown(
    product_ids: Annotated[list[str], typer.Argument(help="Ids of published products.")],
    dataset: Annotated[str | None, typer.Option(help="Only in this dataset. Default: in every dataset.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Let searches return the products again.")] = False,
) -> None:
    """Remove products from all search results at once. Later indexes do not contain them."""
    from tasks.publish import take_down

    done = take_down(workspace_here(), product_ids, dataset=dataset, undo=undo)
    names = ", ".join(f"{each.product_id} of {each.dataset}" for each in done)
    if undo:
        typer.echo(
            f"no longer taken down: {names}\nAn index that was built without it contains it after `fclip publish`."
        )
    else:
        typer.echo(
            f"taken down: {names}\nNo search returns it. Delete it from the source too, so that no model trains on it."
        )


def _describe(published: "Published", role: "Role") -> dict[str, Any]:
    from fclip.errors import UserError
    from fclip.search.manifest import read_manifest

    try:
        pointer = published.pointer(role)
        values = asdict(read_manifest(published.index_folder(pointer.current)))
        values = {name: value for name, value in values.items() if name not in ("files", "columns")}
    except UserError as error:
        return {"error": str(error)}
    previous = [{**asdict(each), "exists": published.index_folder(each).is_dir()} for each in pointer.previous]
    return {**asdict(pointer.current), **values, "previous": previous}


def _print(role: str, values: dict[str, Any]) -> None:
    if "error" in values:
        typer.echo(f"{role}  {values['error']}")
        return
    version = f"version {values['version']}" if values["version"] else "no registered version"
    approximation = values["approximation"]
    lines = [
        ("index", f"{values['index']}, since {_time(values['since'])}"),
        ("model", f"{values['model_sha256'][:12]} ({version})"),
        ("products", f"{values['num_products']:,} with {values['num_images']:,} images, {values['dim']} dimensions"),
        ("search", values["reason"] + (f", {approximation['num_probes']} probes" if approximation else "")),
        ("size", f"{values['num_bytes'] / 2**20:,.1f} MiB, built in {values['build_seconds']:.1f} s"),
        ("LanceDB", values["lancedb"] or "not installed when the index was built: no table for other programs"),
    ]
    typer.echo(role)
    for label, text in lines:
        typer.echo(f"  {label:<9} {text}")
    for each in values["previous"]:
        version = f"version {each['version']}" if each["version"] else each["model_sha256"][:12]
        state = "" if each["exists"] else " (deleted)"
        typer.echo(f"  before    {each['index']}, {version}, since {_time(each['since'])}{state}")


def _time(since: str) -> str:
    return f"{datetime.fromisoformat(since):%Y-%m-%d %H:%M:%S} UTC"

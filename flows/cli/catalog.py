"""Commands that show data before training: `catalog` (the datasets here) and `datasets` (published datasets)."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from flows.cli.here import workspace_here
from flows.cli.terminal import console
from tasks.workspace.paths import Workspace
from tasks.workspace.pins import read_champion

if TYPE_CHECKING:
    from fclip.catalog.descriptions import Description


def catalog(
    dataset: Annotated[
        str | None, typer.Argument(help="Name of one dataset in `ingest.datasets`. Default: all datasets.")
    ] = None,
) -> None:
    """Profile the ingested datasets: counts, missing values, classes, text lengths, images, drift; write HTML pages."""
    show_catalog(workspace_here(), console, dataset)


def datasets(
    name: Annotated[str | None, typer.Argument(help="Name of one dataset to show in full. Default: list all.")] = None,
) -> None:
    """List the published datasets that fclip can read: location, columns, label sets and tasks."""
    show_datasets(console, name)


def show_catalog(space: Workspace, console: Console, dataset: str | None) -> None:
    """Print the profile of `dataset` (None: of every dataset), the path of its page, and the drift."""
    from fclip.profile.terminal import details
    from tasks.profile import drift, profile

    profiles = profile(space, dataset)
    for name, each in profiles.items():
        console.print(details(each), highlight=False)
        console.print(f"[bold]page[/bold]  {escape(str(space.catalog_page(name)))}\n", highlight=False, soft_wrap=True)
    if read_champion(space):
        measured_drift = drift(space, profiles)
        for line in (measured_drift.summary, *measured_drift.warnings):
            console.print(f"[bold]drift[/bold] {escape(line)}", highlight=False)


def show_datasets(console: Console, name: str | None) -> None:
    """Print one line per published dataset, or the description of `name`; raises UserError if `name` is unknown."""
    from fclip.catalog.descriptions import known_datasets, load_description

    if name is not None:
        _show_one(console, name)
        return
    names, repos = Column("name", no_wrap=True), Column("hub repository", no_wrap=True)
    table = Table(names, repos, "rows", "columns", "label sets", Column("tasks", overflow="fold"), box=None)
    for known in known_datasets():
        description = load_description(known)
        source = description.source
        table.add_row(
            known,
            escape(description.hub or "none: set `path`"),
            f"{description.num_rows:,}",
            escape(", ".join([*source.texts, *source.attributes])),
            ", ".join(description.label_sets),
            escape(", ".join(task.name for task in description.tasks)),
        )
    console.print(table)
    console.print(
        "\nIn params.yaml: source: {kind: published, dataset: NAME, path: null or a local copy}",
        markup=False,
    )


def _show_one(console: Console, name: str) -> None:
    from fclip.catalog.descriptions import load_description

    description = load_description(name)
    about = Table.grid(padding=(0, 2))
    for label, text in _about(name, description):
        about.add_row(f"[bold]{label}[/bold]", escape(text))
    console.print(about)
    columns = Table("name in fclip", "column", "role", title="\ncolumns", title_justify="left", box=None)
    for name_in_fclip, column, role in _columns(description):
        columns.add_row(name_in_fclip, *map(escape, (column, role)))
    console.print(columns)
    if description.tasks:
        tasks = Table("task", "query", "documents", title="\ntasks", title_justify="left", box=None)
        for task in description.tasks:
            weighted = " + ".join(f"{weight:g} {column}" for column, weight in task.documents.items())
            tasks.add_row(*map(escape, (task.name, task.query, weighted)))
        console.print(tasks)
    for label, lines in (("sources of these facts", description.facts), ("unverified", description.unverified)):
        if lines:
            console.print(f"\n[italic]{label}[/italic]")
        for line in lines:
            console.print(f"- {line}", markup=False, highlight=False)


def _about(name: str, description: "Description") -> list[tuple[str, str]]:
    from fclip.catalog.sources.registry import kind_of

    layout = kind_of(description.source).label
    return [
        (name, description.title),
        ("location", f"hub: {description.hub}" if description.hub else description.home),
        ("files", f"{', '.join(description.files)} ({layout})"),
        ("rows", f"{description.num_rows:,}"),
        ("licence", description.licence or "not stated"),
    ]


def _columns(description: "Description") -> list[tuple[str, str, str]]:
    from fclip.catalog.reading.records import image_columns

    source = description.source
    rows = [("product_id", source.product_id, "id"), ("image", ", ".join(image_columns(source)), "image")]
    if source.parent_id is not None:
        pattern = f", by the pattern {source.parent_pattern}" if source.parent_pattern else ""
        rows.append(("parent_id", source.parent_id, f"parent id{pattern}"))
    rows += [(name, column, "text") for name, column in source.texts.items()]
    rows += [
        (name, column, "attribute, label set" if name in description.label_sets else "attribute")
        for name, column in source.attributes.items()
    ]
    return rows

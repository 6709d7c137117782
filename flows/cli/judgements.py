"""The commands `queries` and `judgements merge`: what people leave in the search service."""

import json
from collections import defaultdict
from dataclasses import asdict
from typing import Annotated

import typer

from flows.cli.commands import new_app
from flows.cli.here import workspace_here

judgements_app = new_app(no_args_is_help=True, help="Use the grades that people gave to search results.")


@judgements_app.callback()
def _group() -> None:
    """Typer makes a group of one command only with a callback."""


@judgements_app.command("merge")
def merge_judgements() -> None:
    """Add the grades of the service's inbox to the tables that graded retrieval reads, with who and when."""
    from fclip.errors import UserError
    from fclip.serve.grades import GradedResult, TableColumns, merge, read_inbox
    from flows.params import load_params

    workspace = workspace_here()
    by_dataset: dict[str, list[GradedResult]] = defaultdict(list)
    for grade in read_inbox(workspace.judgements_inbox):
        by_dataset[grade.dataset].append(grade)
    if not by_dataset:
        typer.echo("The inbox has no grades. People give them on the page of `fclip serve`.")
        return
    datasets = load_params(workspace).ingest.datasets
    targets = {}
    for name in sorted(by_dataset):
        config = datasets[name].judgements if name in datasets else None
        if config is None or "://" in config.path:
            raise UserError(
                f"{len(by_dataset[name])} grades are of the dataset {name}, which has no local table of judgements; "
                f"add `judgements: {{path: judgements-{name}.csv}}` to ingest.datasets.{name} in params.yaml"
            )
        targets[name] = config
    for name, config in targets.items():
        columns = TableColumns(config.query, config.product_id, config.grade)
        new, changed = merge(by_dataset[name], workspace.root / config.path, columns)
        typer.echo(f"{config.path}: {new} new judgements, {changed} changed")


def queries(
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="Length of each list.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what people searched for in the service, and what they did not find."""
    from fclip.serve.queries import read_queries, summarise

    found = summarise(read_queries(workspace_here().query_log), top=top)
    if as_json:
        typer.echo(json.dumps(asdict(found), ensure_ascii=False, indent=2))
        return
    if not found.num_searches:
        typer.echo("The log has no queries. `fclip serve` writes it.")
        return
    days = list(found.num_by_day)
    typer.echo(
        f"{found.num_searches:,} searches from {days[0]} to {days[-1]}: {found.num_with_image:,} with an image, "
        f"{found.num_filtered:,} with a filter"
    )
    for title, counted in (
        ("most frequent", found.texts),
        ("found nothing", found.empty),
        ("filters", found.filters),
    ):
        if counted:
            typer.echo(f"\n{title}")
            for text, number in counted:
                typer.echo(f"{number:>7,}  {text}")

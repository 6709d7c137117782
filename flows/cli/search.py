"""The command `search`."""

from typing import Annotated

import typer
from rich.table import Table

from flows.cli.terminal import console, workspace_here


def search(
    query: Annotated[str, typer.Argument(help="What a customer would type.")],
    k: Annotated[int, typer.Option("--top", "-k", min=1, help="How many products.")] = 10,
    model: Annotated[
        str | None, typer.Option(help="A registry version or alias; refused unless it made the published embeddings.")
    ] = None,
) -> None:
    """Search the published embeddings: exact cosine similarity of the query to every product's image."""
    from tasks.search import find_products

    table = Table("", "product", "dataset", "score", "title", box=None)
    for rank, hit in enumerate(find_products(workspace_here(), query, k=k, model=model), start=1):
        table.add_row(str(rank), hit.product_id, hit.dataset, f"{hit.score:.3f}", hit.title)
    console.print(table)

"""The command `search`."""

from typing import Annotated

import typer
from rich.table import Table

from flows.cli.here import workspace_here
from flows.cli.terminal import console


def search(
    query: Annotated[str, typer.Argument(help='Search text, for example "red summer dress".')],
    k: Annotated[int, typer.Option("--top", "-k", min=1, help="Number of products to show.")] = 10,
    model: Annotated[
        str | None,
        typer.Option(
            help="Registry version or alias that the published embeddings must come from. Another one is refused."
        ),
    ] = None,
) -> None:
    """Search the published embeddings by exact cosine similarity between the query and the product images."""
    from tasks.search import find_products

    table = Table("", "product", "dataset", "score", "title", box=None)
    for rank, hit in enumerate(find_products(workspace_here(), query, k=k, model=model), start=1):
        table.add_row(str(rank), hit.product_id, hit.dataset, f"{hit.score:.3f}", hit.title)
    console.print(table)

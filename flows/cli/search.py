"""The command `search`: search the published embeddings by the model that made them."""

from dataclasses import dataclass
from typing import Annotated

import typer
from rich.table import Table

from fclip.errors import UserError
from flows.cli.terminal import console, workspace_here
from tasks.publish import current
from tasks.workspace.params import Base, load_section
from tasks.workspace.paths import Workspace
from tasks.workspace.pins import read_champion
from tasks.workspace.weights import find_model


def search(
    query: Annotated[str, typer.Argument(help="What a customer would type.")],
    k: Annotated[int, typer.Option("--top", "-k", min=1, help="How many products.")] = 10,
    model: Annotated[
        str | None, typer.Option(help="A registry version or alias; refused unless it made the published embeddings.")
    ] = None,
) -> None:
    """Search the published embeddings: exact cosine similarity of the query to every product's image."""
    table = Table("", "product", "dataset", "score", "title", box=None)
    for rank, hit in enumerate(find_products(workspace_here(), query, k=k, model=model), start=1):
        table.add_row(str(rank), hit.product_id, hit.dataset, f"{hit.score:.3f}", hit.title)
    console.print(table)


@dataclass(frozen=True)
class FoundProduct:
    """A found product: cosine similarity of its image to the query, and its title."""

    product_id: str
    dataset: str
    score: float
    title: str


def find_products(workspace: Workspace, query: str, *, k: int, model: str | None = None) -> list[FoundProduct]:
    """The `k` products nearest to `query`.

    Raises:
        UserError: nothing is published, or `model` (a version or an alias) did not make what is published.
    """
    from fclip.embeddings.search import search as nearest
    from fclip.embeddings.store import read_embeddings
    from fclip.features.encode import encode_texts
    from fclip.models.store import load

    if not query.strip():
        raise UserError("the query is empty: say what to search for")
    published = read_embeddings(current(workspace))
    if model:
        from fclip.registry.store import find_version  # mlflow takes seconds to import

        pin = find_version(load_section(workspace, "base", Base).registered_model, model).pin
        clip = load(find_model(workspace, pin.model_sha256, pin))
    else:
        clip = load(find_model(workspace, published.model_sha256, read_champion(workspace)))
    query_embedding = encode_texts(clip, [query])[0]
    hits = nearest(published, query_embedding, k=k, model_sha256=clip.model_sha256)
    return [
        FoundProduct(hit.product_id, hit.dataset, hit.score, published.title(hit.dataset, hit.product_id))
        for hit in hits
    ]

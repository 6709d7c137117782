"""Search the published embeddings by the model that made them."""

from dataclasses import dataclass

from fclip.errors import UserError
from tasks.publish import current
from tasks.workspace.params import Base, load_section
from tasks.workspace.paths import Workspace
from tasks.workspace.pins import read_champion
from tasks.workspace.weights import find_model


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

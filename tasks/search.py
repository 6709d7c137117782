"""Search the published embeddings with the model that computed them."""

from dataclasses import dataclass

from fclip.errors import UserError
from tasks.publish import current_embeddings
from tasks.workspace.params import Base, load_section
from tasks.workspace.paths import Workspace
from tasks.workspace.pins import read_champion
from tasks.workspace.weights import find_model


@dataclass(frozen=True)
class FoundProduct:
    """A search result. `score`: cosine similarity between the query and the image of the product."""

    product_id: str
    dataset: str
    score: float
    title: str


def find_products(workspace: Workspace, query: str, *, k: int, model: str | None = None) -> list[FoundProduct]:
    """Return the `k` products nearest to `query`.

    Raises:
        UserError: no embeddings are published, or `model` (a version or an alias) is not the model of the embeddings.
    """
    from fclip.embeddings.search import search as nearest
    from fclip.embeddings.store import read_embeddings
    from fclip.features.encode import encode_texts
    from fclip.models.store import load

    if not query.strip():
        raise UserError("the query is empty; enter a search text")
    published = read_embeddings(current_embeddings(workspace))
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

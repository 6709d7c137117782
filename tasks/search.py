"""Search the published embeddings with the model that computed them, on the light runtime."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from fclip.errors import UserError
from fclip.export.runtime_folder import runtime_folder
from fclip.runtime import load
from tasks.publish import current_embeddings
from tasks.workspace.params import Base, load_section
from tasks.workspace.paths import Workspace
from tasks.workspace.pins import read_champion
from tasks.workspace.weights import find_model

if TYPE_CHECKING:
    from fclip.export.parity import ParityInputs


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

    if not query.strip():
        raise UserError("the query is empty; enter a search text")
    published = read_embeddings(current_embeddings(workspace))
    if model:
        from fclip.registry.store import find_version  # mlflow takes seconds to import

        pin = find_version(load_section(workspace, "base", Base).registered_model, model).pin
        folder = find_model(workspace, pin.model_sha256, pin)
    else:
        folder = find_model(workspace, published.model_sha256, read_champion(workspace))
    runtime = load(runtime_folder(folder, parity_inputs=partial(_parity_inputs, workspace)))
    (embedding,) = runtime.embed_texts([query])
    hits = nearest(published, embedding, k=k, model_sha256=runtime.manifest.model_sha256)
    return [
        FoundProduct(hit.product_id, hit.dataset, hit.score, published.title(hit.dataset, hit.product_id))
        for hit in hits
    ]


def _parity_inputs(workspace: Workspace) -> "ParityInputs":
    from tasks.model_package import parity_inputs  # torch takes seconds to import, and most models have graphs

    return parity_inputs(workspace)

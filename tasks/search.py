"""Search the published embeddings with the model that computed them, on the light runtime."""

from dataclasses import dataclass
from pathlib import Path

from fclip.errors import UserError
from fclip.runtime import Model, load
from fclip.runtime.loading import can_load
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

    if not query.strip():
        raise UserError("the query is empty; enter a search text")
    published = read_embeddings(current_embeddings(workspace))
    if model:
        from fclip.registry.store import find_version  # mlflow takes seconds to import

        pin = find_version(load_section(workspace, "base", Base).registered_model, model).pin
        folder = find_model(workspace, pin.model_sha256, pin)
    else:
        folder = find_model(workspace, published.model_sha256, read_champion(workspace))
    runtime = load_exported(workspace, folder)
    (embedding,) = runtime.embed_texts([query])
    hits = nearest(published, embedding, k=k, model_sha256=runtime.manifest.model_sha256)
    return [
        FoundProduct(hit.product_id, hit.dataset, hit.score, published.title(hit.dataset, hit.product_id))
        for hit in hits
    ]


def load_exported(workspace: Workspace, folder: Path) -> Model:
    """Load a model folder into the runtime. If it has no graphs, it is exported once, to the cache of the workspace.

    Raises:
        UserError: the model cannot be loaded or exported.
    """
    if can_load(folder):
        return load(folder)
    from fclip.models.digests import model_sha256

    target = workspace.runtime_cache / model_sha256(folder)
    if not target.is_dir():
        from fclip.export.onnx import export_onnx  # torch takes seconds to import
        from tasks.model_package import parity_inputs

        export_onnx(folder, target, parity_inputs(workspace))
    return load(target)

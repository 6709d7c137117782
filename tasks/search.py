"""Search the published embeddings by the model that made them."""

from dataclasses import dataclass
from typing import Any

from fclip.errors import UserError
from fclip.files import read_json
from tasks.publish import current
from tasks.workspace.params import Base, load_section
from tasks.workspace.paths import Workspace
from tasks.workspace.weights import find_model


@dataclass(frozen=True)
class Hit:
    """A found product: cosine similarity of its image to the query, and its title."""

    product_id: str
    dataset: str
    score: float
    title: str


def search(workspace: Workspace, query: str, *, k: int, model: str | None = None) -> list[Hit]:
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
    pin = _version(workspace, model) if model else read_json(workspace.champion_pin)
    digest = pin["model_sha256"] if model else published.model_sha256
    clip = load(find_model(workspace, digest, pin))
    query_embedding = encode_texts(clip, [query])[0]
    hits = nearest(published, query_embedding, k=k, model_sha256=clip.model_sha256)
    return [Hit(hit.product_id, hit.dataset, hit.score, published.title(hit.dataset, hit.product_id)) for hit in hits]


def _version(workspace: Workspace, model: str) -> dict[str, Any]:
    from fclip.registry import store

    name = load_section(workspace, "base", Base).registered_model
    versions = store.versions(name)
    for version in versions:
        if model == str(version.version) or model in version.aliases:
            return version.pin
    known = ", ".join(f"{version.version} {' '.join(version.aliases)}".strip() for version in versions) or "none"
    raise UserError(f"{name} has no version or alias `{model}`: there are {known}")

"""Exact search: the products whose image is nearest to a query."""

from dataclasses import dataclass

import numpy as np

from fclip.embeddings.store import Embeddings, FloatArray
from fclip.errors import UserError


@dataclass(frozen=True)
class Hit:
    """A product and its cosine similarity to the query, by its nearest image."""

    dataset: str
    product_id: str
    score: float


def search(embeddings: Embeddings, query: FloatArray, *, k: int, model_sha256: str) -> list[Hit]:
    """The `k` products nearest to `query` (float32 [d], of any length), the nearest first; each product once.

    Raises:
        UserError: the query was embedded by another model than the products.
    """
    if model_sha256 != embeddings.model_sha256:
        raise UserError(
            f"the query is of model {model_sha256[:12]}, the embeddings are of {embeddings.model_sha256[:12]}: "
            "their similarities mean nothing; search with the model that made the embeddings, or embed again"
        )
    scores = embeddings.images @ (query / np.linalg.norm(query))
    hits: dict[tuple[str, str], Hit] = {}
    for row in np.argsort(-scores, kind="stable"):
        key = (embeddings.datasets[row], embeddings.product_ids[row])
        hits.setdefault(key, Hit(*key, float(scores[row])))
        if len(hits) == k:
            break
    return list(hits.values())

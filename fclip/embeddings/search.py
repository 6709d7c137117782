"""Exact search: the products whose image is nearest to a query."""

from dataclasses import dataclass

import numpy as np

from fclip.embeddings.store import Embeddings
from fclip.errors import UserError
from fclip.features.similarity import FloatArray, Ints, similarities, top_k


@dataclass(frozen=True)
class SearchHit:
    """A product and its cosine similarity to the query, by its nearest image."""

    dataset: str
    product_id: str
    score: float


def search(embeddings: Embeddings, query: FloatArray, *, k: int, model_sha256: str) -> list[SearchHit]:
    """The `k` products nearest to `query` (float32 [d], of any length), the nearest first; each product once.

    Raises:
        UserError: the query was embedded by another model than the products, is not finite or zero, or `k` is not
            positive.
    """
    if k < 1:
        raise UserError(f"the number of products to find must be at least 1, not {k}")
    if model_sha256 != embeddings.model_sha256:
        raise UserError(
            f"the query is of model {model_sha256[:12]}, the embeddings are of {embeddings.model_sha256[:12]}: "
            "their similarities mean nothing; search with the model that made the embeddings, or embed again"
        )
    length = float(np.linalg.norm(query))
    if not 0 < length < np.inf:
        raise UserError(f"the query's embedding is of length {length}: the model {model_sha256[:12]} cannot embed it")
    finite = np.ones(len(embeddings.images), bool)  # no others are written
    ((_, scores),) = similarities((query / np.float32(length))[None], embeddings.images, usable=finite)
    num_rows = k
    while True:
        num_rows = min(2 * num_rows, len(finite))  # a product has several images, so more rows than products
        rows, values = top_k(scores, num_rows)
        hits = _hits(embeddings, rows[0], values[0])
        if len(hits) >= k or num_rows == len(finite):
            return hits[:k]


def _hits(embeddings: Embeddings, rows: Ints, scores: FloatArray) -> list[SearchHit]:
    """Each product once, by the first of its rows."""
    found: dict[tuple[str, str], SearchHit] = {}
    for row, score in zip(rows.tolist(), scores.tolist(), strict=True):
        key = (embeddings.datasets[row], embeddings.product_ids[row])
        found.setdefault(key, SearchHit(*key, score))
    return list(found.values())

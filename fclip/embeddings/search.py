"""Exact search: the products whose image is nearest to a query."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
    scores = embeddings.images @ (query / np.float32(length))
    num_rows = k
    while True:
        num_rows = min(2 * num_rows, len(scores))  # a product has several images, so more rows than products
        hits = _hits(embeddings, scores, _highest(scores, num_rows))
        if len(hits) >= k or num_rows == len(scores):
            return hits[:k]


def _highest(scores: FloatArray, num_rows: int) -> NDArray[np.int64]:
    """The rows of the `num_rows` highest scores, the highest first, equals in their order, all without a full sort."""
    if num_rows == len(scores):
        return np.argsort(-scores, kind="stable")
    least = np.partition(scores, len(scores) - num_rows)[len(scores) - num_rows]
    rows = np.flatnonzero(scores >= least)
    return rows[np.argsort(-scores[rows], kind="stable")]


def _hits(embeddings: Embeddings, scores: FloatArray, rows: NDArray[np.int64]) -> list[Hit]:
    found: dict[tuple[str, str], Hit] = {}
    for row in rows.tolist():
        key = (embeddings.datasets[row], embeddings.product_ids[row])
        found.setdefault(key, Hit(*key, float(scores[row])))
    return list(found.values())

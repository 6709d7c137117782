"""Exact search for the products with the most similar images."""

from dataclasses import dataclass

import numpy as np

from fclip.embeddings.store import Embeddings
from fclip.errors import UserError
from fclip.features.similarity import FloatArray, Ints, similarities


@dataclass(frozen=True)
class SearchHit:
    """A product and the cosine similarity of its most similar image to the query."""

    dataset: str
    product_id: str
    score: float


def search(embeddings: Embeddings, query: FloatArray, *, k: int, model_sha256: str) -> list[SearchHit]:
    """Return the `k` products most similar to `query`, the most similar first. Each product occurs once.

    Args:
        query: float32 [d], not necessarily normalised.
        model_sha256: digest of the model that embedded the query.

    Raises:
        UserError: the query and the products were embedded by different models, the query is zero or not finite, or `k`
            is not positive.
    """
    if k < 1:
        raise UserError(f"the number of results must be at least 1, not {k}")
    if model_sha256 != embeddings.model_sha256:
        raise UserError(
            f"the query was embedded by model {model_sha256[:12]}, the products by {embeddings.model_sha256[:12]}; "
            "search with the model that made the embeddings, or run `dvc repro embed`"
        )
    length = float(np.linalg.norm(query))
    if not 0 < length < np.inf:
        raise UserError(
            f"model {model_sha256[:12]} cannot embed the query: the embedding's length is {length}; use another query"
        )
    finite = np.ones(len(embeddings.images), bool)  # stored embeddings are finite
    ((_, scores),) = similarities((query / np.float32(length))[None], embeddings.images, usable=finite)
    num_rows = k
    while True:
        num_rows = min(2 * num_rows, len(finite))  # more rows than products, since a product has several images
        rows = _best(scores[0], num_rows)
        hits = _hits(embeddings, rows, scores[0, rows])
        if len(hits) >= k or num_rows == len(finite):
            return hits[:k]


def _best(scores: FloatArray, number: int) -> Ints:
    """Return the indices of the highest scores, in descending order; equal scores in the order of the rows."""
    if number < len(scores):
        limit = np.partition(scores, len(scores) - number)[len(scores) - number]
        candidates = np.flatnonzero(scores >= limit)
    else:
        candidates = np.arange(len(scores))
    return candidates[np.argsort(-scores[candidates], kind="stable")][:number]


def _hits(embeddings: Embeddings, rows: Ints, scores: FloatArray) -> list[SearchHit]:
    """Return each product once, by the first of its rows."""
    hits: dict[tuple[str, str], SearchHit] = {}
    for row, score in zip(rows.tolist(), scores.tolist(), strict=True):
        key = (embeddings.datasets[row], embeddings.product_ids[row])
        hits.setdefault(key, SearchHit(*key, score))
    return list(hits.values())

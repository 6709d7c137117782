"""Rankings of documents for queries, a block of queries at a time, and metrics of the first k.

A ranking is by falling similarity; among equal ones the order is `preference`'s, so that it never depends on the block,
the machine or the order of the documents. Metrics are trec_eval's (recall, precision, average precision, nDCG with
gain = grade and discount 1 / log2(rank + 1)), each cut at k.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fclip.evaluation.outcomes import Floats, Ints
from fclip.features.encode import FloatArray, finite_rows

BLOCK_VALUES = 8_000_000  # similarities in memory at once


@dataclass(frozen=True)
class Ranked:
    """The first documents of each query: int [q, k], -1 where a query finds no more, and float [q, k]."""

    documents: Ints
    similarity: FloatArray


def rank(
    queries: FloatArray, documents: FloatArray, k: int, *, preference: Ints | None = None, without: Ints | None = None
) -> Ranked:
    """The k documents most similar to each query.

    Args:
        queries: float32 [q, d]. documents: float32 [n, d]. Rows that are not finite find nothing, and are not found.
        preference: int [n], distinct; of equally similar documents the one with the least comes first. None: as they
            stand.
        without: int [q], a document that each query does not find (itself, say); -1: none. None: for no query.
    """
    num_queries, num_documents = len(queries), len(documents)
    k = min(k, num_documents)
    order = np.arange(num_documents) if preference is None else preference
    found = np.full((num_queries, k), -1, np.int64)
    values = np.full((num_queries, k), -np.inf, np.float32)
    usable = finite_rows(documents)
    columns = torch.from_numpy(np.where(usable[:, None], documents, 0).astype(np.float32)).T
    left_out = torch.from_numpy(~usable)
    for begin in range(0, num_queries, rows := max(1, BLOCK_VALUES // max(num_documents, 1))):
        block = slice(begin, min(begin + rows, num_queries))
        finite = finite_rows(queries[block])
        similarity = torch.from_numpy(np.where(finite[:, None], queries[block], 0).astype(np.float32)) @ columns
        similarity[:, left_out] = -torch.inf
        if without is not None:
            own = without[block]
            similarity[np.flatnonzero(own >= 0), own[own >= 0]] = -torch.inf
        found[block], values[block] = _first(similarity, k, order)
        found[block][~finite], values[block][~finite] = -1, -np.inf
    found[np.isneginf(values)] = -1
    return Ranked(found, values)


def _first(similarity: torch.Tensor, k: int, order: Ints) -> tuple[Ints, FloatArray]:
    """The first k columns of each row, equal values by `order`."""
    more = min(k + 1, similarity.shape[1])
    top, columns = (part.numpy() for part in torch.topk(similarity, more, dim=1))
    tied = (top[:, 1:] == top[:, :-1]).any(axis=1)
    documents, values = columns[:, :k].copy(), top[:, :k].copy()
    for row in np.flatnonzero(tied):
        whole = similarity[row].numpy()
        candidates = np.flatnonzero(whole >= top[row, k - 1])  # more than k where the last place is shared
        best = np.lexsort((order[candidates], -whole[candidates]))[:k]
        documents[row], values[row] = candidates[best], whole[candidates[best]]
    return documents, values


def first_k_metrics(
    grades: NDArray[np.integer], ideal: NDArray[np.integer], ks: Sequence[int], *, num_relevant: Ints
) -> dict[str, Floats]:
    """trec_eval's metrics of each query, float64 [q] each: recall, precision, map and ndcg at each k; mrr at the last.

    Args:
        grades: int [q, at least the largest k], the grade of each document found, in order; 0: not relevant.
        ideal: int [q, m], the greatest grades of each query's relevant documents, falling, then zeros.
        num_relevant: int [q], how many documents are relevant to each query, found or not.
    """
    depth = max(ks)
    gains = _padded(grades, depth)
    hits = gains > 0
    relevant = np.maximum(num_relevant, 1)
    places = np.arange(1, depth + 1)
    discounts = 1 / np.log2(places + 1)
    best = _padded(ideal, depth)
    precision = hits.cumsum(axis=1) / places
    found: dict[str, Floats] = {}
    for k in ks:
        found[f"recall_at_{k}"] = hits[:, :k].sum(axis=1) / relevant
        found[f"precision_at_{k}"] = hits[:, :k].sum(axis=1) / k
        found[f"hit_at_{k}"] = (hits[:, :k].sum(axis=1) > 0).astype(np.float64)
        found[f"map_at_{k}"] = (precision * hits)[:, :k].sum(axis=1) / relevant
        most = best[:, :k] @ discounts[:k]
        gained: Floats = (gains[:, :k] * discounts[:k]).sum(axis=1)
        found[f"ndcg_at_{k}"] = gained / np.where(most > 0, most, 1)
    first = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, np.inf)
    return {**found, "mrr": 1 / first}


def _padded(grades: NDArray[np.integer], depth: int) -> Floats:
    cut = grades[:, :depth]
    return np.pad(cut, ((0, 0), (0, depth - cut.shape[1]))).astype(np.float64)

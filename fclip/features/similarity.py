"""Feature vectors: normalised, compared and ranked. All similarities of images and texts are computed here.

At its top this imports numpy alone, since the protocols use it and params are parsed with them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Ints = NDArray[np.int64]

BLOCK_VALUES = 8_000_000  # similarities in memory at once


@dataclass(frozen=True)
class Ranked:
    """The first documents of each query: int [q, k], -1 where a query finds no more, and float [q, k]."""

    documents: Ints
    similarity: FloatArray


def unit(features: FloatArray) -> FloatArray:
    """Rows divided by their L2 norms, float32; a row of zeros stays as it is."""
    norms = np.linalg.norm(features.astype(np.float64), axis=-1, keepdims=True)
    return (features / np.where(norms > 0, norms, 1.0)).astype(np.float32)


def finite_rows(features: FloatArray) -> NDArray[np.bool_]:
    """bool [n]: the rows without a value that is not finite."""
    return np.asarray(np.isfinite(features).all(axis=1))


def similarities(
    queries: FloatArray, documents: FloatArray, *, rows: Ints | None = None, usable: NDArray[np.bool_] | None = None
) -> Iterator[tuple[slice, FloatArray]]:
    """Dot products of queries with all documents, a block of queries at a time, so that memory stays bounded.

    A query or document that is not finite has similarity −inf to everything, so it finds nothing and is not found.

    Args:
        queries: float32 [q, d]. documents: float32 [n, d].
        rows: int [r], the queries to compare, in this order; None: each once.
        usable: bool [n], the documents that are finite; None: they are looked for.

    Yields:
        Where the block lies among the r rows, and float32 [rows of the block, n], which the caller may change.
    """
    num_rows = len(queries) if rows is None else len(rows)
    usable = finite_rows(documents) if usable is None else usable
    columns = _without(documents, usable).T
    step = max(1, BLOCK_VALUES // max(len(documents), 1))
    for begin in range(0, num_rows, step):
        where = slice(begin, min(begin + step, num_rows))
        block = queries[where] if rows is None else queries[rows[where]]
        finite = finite_rows(block)
        similarity: FloatArray = _without(block, finite) @ columns
        similarity[:, ~usable] = -np.inf
        similarity[~finite] = -np.inf
        yield where, similarity


def rank(
    queries: FloatArray, documents: FloatArray, k: int, *, preference: Ints | None = None, without: Ints | None = None
) -> Ranked:
    """The k documents most similar to each query, by falling similarity.

    Among equal similarities the order is that of `preference`, so that it never depends on the block, the machine or
    the order of the documents.

    Args:
        queries: float32 [q, d]. documents: float32 [n, d]. Rows that are not finite find nothing, and are not found.
        preference: int [n], distinct; of equally similar documents the one with the least comes first. None: as they
            stand.
        without: int [q], a document that each query does not find (itself, say); -1: none. None: for no query.
    """
    k = min(k, len(documents))
    found = np.full((len(queries), k), -1, np.int64)
    values = np.full((len(queries), k), -np.inf, np.float32)
    for block, similarity in similarities(queries, documents):
        if without is not None:
            own = without[block]
            similarity[np.flatnonzero(own >= 0), own[own >= 0]] = -np.inf
        found[block], values[block] = highest(similarity, k, preference)
    return Ranked(found, values)


def highest(similarity: FloatArray, k: int, preference: Ints | None = None) -> tuple[Ints, FloatArray]:
    """The k columns of each row with the highest values, the highest first, and their values; no row is sorted whole.

    Args:
        similarity: float32 [q, n].
        k: at most n.
        preference: int [n], as of `rank`.

    Returns:
        int64 [q, k], -1 where a value is −inf, and float32 [q, k].
    """
    import torch  # its top-k is several times as fast as numpy's partition

    order = np.arange(similarity.shape[1]) if preference is None else preference
    more = min(k + 1, similarity.shape[1])
    top, columns = (part.numpy() for part in torch.topk(torch.from_numpy(similarity), more, dim=1))
    tied = ((top[:, 1:] == top[:, :-1]) & ~np.isneginf(top[:, 1:])).any(axis=1)
    documents, values = columns[:, :k].copy(), top[:, :k].copy()
    for row in np.flatnonzero(tied):
        whole = similarity[row]
        candidates = np.flatnonzero(whole >= top[row, k - 1])  # more than k where the last place is shared
        best = np.lexsort((order[candidates], -whole[candidates]))[:k]
        documents[row], values[row] = candidates[best], whole[candidates[best]]
    documents[np.isneginf(values)] = -1
    return documents, values


def _without(rows: FloatArray, usable: NDArray[np.bool_]) -> FloatArray:
    """`rows` with zeros in place of those that are not usable; not copied where all are."""
    return rows if usable.all() else np.where(usable[:, None], rows, np.float32(0))

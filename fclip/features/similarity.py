"""Normalisation, similarity and ranking of feature vectors, for all similarities of images and texts.

At module level it imports only numpy, because parsing params.yaml imports the protocols, which use this module.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Ints = NDArray[np.int64]

BLOCK_VALUES = 8_000_000  # maximum number of similarities in memory


@dataclass(frozen=True)
class Ranked:
    """The most similar documents of each query.

    Attributes:
        documents: int [q, k], -1 after the last result.
        similarity: float32 [q, k].
    """

    documents: Ints
    similarity: FloatArray


def unit(features: FloatArray) -> FloatArray:
    """Return the rows divided by their L2 norms, float32. Rows of zeros stay zero."""
    norms = np.linalg.norm(features.astype(np.float64), axis=-1, keepdims=True)
    return (features / np.where(norms > 0, norms, 1.0)).astype(np.float32)


def finite_rows(features: FloatArray) -> NDArray[np.bool_]:
    """Return which rows have only finite values: bool [n]."""
    return np.asarray(np.isfinite(features).all(axis=1))


def similarities(
    queries: FloatArray, documents: FloatArray, *, rows: Ints | None = None, usable: NDArray[np.bool_] | None = None
) -> Iterator[tuple[slice, FloatArray]]:
    """Yield the dot products of queries with all documents in blocks of queries, to limit memory.

    All similarities of a non-finite query or document are −inf, so they do not appear in results.

    Args:
        queries: float32 [q, d]. documents: float32 [n, d].
        rows: int [r], the queries to compare, in this order; None for each query once.
        usable: bool [n], which documents are finite; None to compute it.

    Yields:
        The slice of the r rows in the block, and float32 [rows of the block, n], which the caller may modify.
    """
    num_rows = len(queries) if rows is None else len(rows)
    usable = finite_rows(documents) if usable is None else usable
    columns = _zero_unusable(documents, usable).T
    step = max(1, BLOCK_VALUES // max(len(documents), 1))
    for begin in range(0, num_rows, step):
        where = slice(begin, min(begin + step, num_rows))
        block = queries[where] if rows is None else queries[rows[where]]
        finite = finite_rows(block)
        similarity: FloatArray = _zero_unusable(block, finite) @ columns
        similarity[:, ~usable] = -np.inf
        similarity[~finite] = -np.inf
        yield where, similarity


def rank(
    queries: FloatArray, documents: FloatArray, k: int, *, preference: Ints | None = None, excluded: Ints | None = None
) -> Ranked:
    """Return the k most similar documents of each query, by descending similarity.

    Ties are ordered by `preference`, so that the result does not depend on block size, machine or document order.

    Args:
        queries: float32 [q, d]. documents: float32 [n, d]. Non-finite rows have no results and are in no results.
        preference: int [n], distinct; the document with the lower value comes first in ties. None for document order.
        excluded: int [q], a document to exclude for each query, such as the query itself; -1 for none. None to exclude
            no documents.
    """
    k = min(k, len(documents))
    ranked = np.full((len(queries), k), -1, np.int64)
    values = np.full((len(queries), k), -np.inf, np.float32)
    for block, similarity in similarities(queries, documents):
        if excluded is not None:
            columns = excluded[block]
            similarity[np.flatnonzero(columns >= 0), columns[columns >= 0]] = -np.inf
        ranked[block], values[block] = top_k(similarity, k, preference)
    return Ranked(ranked, values)


def top_k(similarity: FloatArray, k: int, preference: Ints | None = None) -> tuple[Ints, FloatArray]:
    """Return the k columns with the highest values of each row, in descending order, and their values.

    Args:
        similarity: float32 [q, n].
        k: at most n.
        preference: int [n], order of ties as in `rank`.

    Returns:
        int64 [q, k], -1 where the value is −inf, and float32 [q, k].
    """
    import torch  # torch.topk is several times as fast as numpy.partition

    order = np.arange(similarity.shape[1]) if preference is None else preference
    more = min(k + 1, similarity.shape[1])
    top, columns = (part.numpy() for part in torch.topk(torch.from_numpy(similarity), more, dim=1))
    tied = ((top[:, 1:] == top[:, :-1]) & ~np.isneginf(top[:, 1:])).any(axis=1)
    documents, values = columns[:, :k].copy(), top[:, :k].copy()
    for row in np.flatnonzero(tied):
        whole = similarity[row]
        candidates = np.flatnonzero(whole >= top[row, k - 1])  # more than k if there is a tie for the last rank
        best = np.lexsort((order[candidates], -whole[candidates]))[:k]
        documents[row], values[row] = candidates[best], whole[candidates[best]]
    documents[np.isneginf(values)] = -1
    return documents, values


def _zero_unusable(rows: FloatArray, usable: NDArray[np.bool_]) -> FloatArray:
    """Return `rows` with unusable rows set to zero. Copies only if there are such rows."""
    return rows if usable.all() else np.where(usable[:, None], rows, np.float32(0))

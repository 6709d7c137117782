"""Retrieval from text to image and back, with every product that carries a text relevant to it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fclip.evaluation.metrics import Floats, Ints, RetrievalOutcome
from fclip.features.encode import FloatArray, unit

CUTOFFS = (1, 5, 10)
BLOCK_VALUES = 8_000_000  # similarities in memory at once


def retrieve(
    image_features: FloatArray, text_features: FloatArray, text_of_image: Sequence[int]
) -> dict[str, RetrievalOutcome]:
    """Both ways between n images and m distinct texts.

    Args:
        image_features: float32 [n, d]. text_features: float32 [m, d]. Rows that are not finite find nothing.
        text_of_image: for each image the index of its text; identical texts are one, relevant to all their images.

    Returns:
        `text_to_image` (queries: texts, several relevant images) and `image_to_text` (queries: images, one text).
    """
    images, texts = _embeddings(image_features), _embeddings(text_features)
    texts_of = np.asarray(text_of_image, np.int64)
    image_rows = np.arange(len(images))
    return {
        "text_to_image": _outcome(texts, images, texts_of, image_rows),
        "image_to_text": _outcome(images, texts, image_rows, texts_of),
    }


def _outcome(queries: FloatArray, items: FloatArray, query_of: Ints, item_of: Ints) -> RetrievalOutcome:
    """(query_of[i], item_of[i]) are the relevant pairs."""
    ranks = _ranks(queries, items, query_of, item_of)
    num_relevant = np.bincount(query_of, minlength=len(queries))
    recall = {
        k: np.bincount(query_of, weights=ranks <= k, minlength=len(queries)) / np.maximum(num_relevant, 1)
        for k in CUTOFFS
    }
    best: Floats = np.zeros(len(queries))
    np.maximum.at(best, query_of, 1.0 / ranks)
    return RetrievalOutcome(recall, best)


def _ranks(queries: FloatArray, items: FloatArray, query_of: Ints, item_of: Ints) -> Floats:
    """Rank from 1 of each relevant pair's item among all items; ties go to the earlier item; inf where not finite."""
    columns = np.arange(len(items))
    ranks = np.full(len(query_of), np.inf)
    usable = np.asarray(np.isfinite(items).all(axis=1))
    items = np.where(usable[:, None], items, 0.0).astype(np.float32)
    rows = max(1, BLOCK_VALUES // len(items))
    for begin in range(0, len(query_of), rows):
        query, item = query_of[begin : begin + rows], item_of[begin : begin + rows]
        similarity: NDArray[np.float32] = queries[query] @ items.T
        similarity[:, ~usable] = -np.inf
        own = similarity[np.arange(len(item)), item][:, None]
        earlier = np.asarray(columns[None] < item[:, None])
        ahead: NDArray[np.bool_] = np.greater(similarity, own) | (np.equal(similarity, own) & earlier)
        fine = np.isfinite(own[:, 0])
        ranks[begin : begin + rows][fine] = 1.0 + ahead[fine].sum(axis=1)
    return ranks


def _embeddings(features: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore", over="ignore"):
        return unit(features)

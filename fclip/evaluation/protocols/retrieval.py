"""Retrieval from text to image and from image to text. All products with the same text are relevant to it.

`hit_at_k` is CLIP_benchmark's recall@k and the FashionCLIP paper's HIT@k: whether any relevant item is among the first
k. `recall_at_k` is the share of a query's relevant items among the first k.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fclip.config import config
from fclip.errors import UserError
from fclip.evaluation.catalog import Catalog, clusters_of
from fclip.evaluation.metrics import MRR, metric_names, recall_metrics
from fclip.evaluation.outcomes import Floats, Ints, MeanOutcome
from fclip.evaluation.protocols.registry import ProtocolDeclaration
from fclip.evaluation.protocols.task import SearchResults, TaskOutcome
from fclip.features.similarity import FloatArray, rank, similarities, unit

CUTOFFS = (1, 5, 10)
METRICS = (*recall_metrics(CUTOFFS), MRR)


@config
class RetrievalConfig:
    """Text-to-image and image-to-text retrieval by one kind of caption.

    Products without such a caption are left out and counted.
    """

    kind: Literal["retrieval"]
    caption: str = "title"
    """The kind of caption: title, highlights, attributes or short."""


@dataclass(frozen=True)
class Retrieval:
    """The task: `texts` are distinct, and `text_of` is the row of each image's text in `texts`."""

    images: tuple[str, ...]
    texts: tuple[str, ...]
    left_out: Mapping[str, int]
    items: tuple[str, ...]
    text_of: tuple[int, ...]
    clusters: Ints | None

    def score(self, images: FloatArray, texts: FloatArray) -> dict[str, TaskOutcome]:
        outcomes = retrieve(images, texts, self.text_of)
        ranked = rank(_embeddings(texts), _embeddings(images), max(CUTOFFS)).documents
        has_text = np.asarray(self.text_of)[ranked] == np.arange(len(self.texts))[:, None]
        results = SearchResults(self.items, ranked, (ranked >= 0) & has_text)
        return {
            "text_to_image": TaskOutcome(outcomes["text_to_image"], self.texts, search_results=results),
            "image_to_text": TaskOutcome(outcomes["image_to_text"], self.items, self.clusters),
        }


def retrieval(config: RetrievalConfig, catalog: Catalog, split: str, max_items: int | None) -> Retrieval:
    """Return the task on a split.

    Raises:
        UserError: no product of the split has the caption.
    """
    products = catalog.products_in(split, max_items)
    captioned = [product for product in products if config.caption in product.captions]
    if not captioned:
        raise UserError(
            f"{catalog.name}: none of the {len(products)} products of the split {split} has a caption "
            f"`{config.caption}`; give the split more products, or remove the protocol from params.yaml"
        )
    captions = [product.captions[config.caption] for product in captioned]
    texts = tuple(dict.fromkeys(captions))
    num_left_out = len(products) - len(captioned)
    number = {text: index for index, text in enumerate(texts)}
    return Retrieval(
        images=tuple(product.image for product in captioned),
        texts=texts,
        left_out={f"no caption `{config.caption}`": num_left_out} if num_left_out else {},
        items=tuple(product.product_id for product in captioned),
        text_of=tuple(number[text] for text in captions),
        clusters=clusters_of([product.group_id for product in captioned]),
    )


def retrieve(
    image_features: FloatArray, text_features: FloatArray, text_of_image: Sequence[int]
) -> dict[str, MeanOutcome]:
    """Search in both directions between n images and m distinct texts.

    Args:
        image_features: float32 [n, d]. text_features: float32 [m, d]. Rows that are not finite have no results.
        text_of_image: index of the text of each image. All images with the same text are relevant to it.

    Returns:
        `text_to_image`: texts are queries with one or more relevant images. `image_to_text`: images are queries with
        one relevant text.
    """
    images, texts = _embeddings(image_features), _embeddings(text_features)
    texts_of = np.asarray(text_of_image, np.int64)
    image_rows = np.arange(len(images))
    return {
        "text_to_image": _outcome(texts, images, texts_of, image_rows),
        "image_to_text": _outcome(images, texts, image_rows, texts_of),
    }


def _outcome(queries: FloatArray, items: FloatArray, query_of: Ints, item_of: Ints) -> MeanOutcome:
    """Return the outcome of a search, where (query_of[i], item_of[i]) are the relevant pairs."""
    ranks = _ranks(queries, items, query_of, item_of)
    best = np.full(len(queries), np.inf)
    np.minimum.at(best, query_of, ranks)
    num_relevant = np.maximum(np.bincount(query_of, minlength=len(queries)), 1)
    values: dict[str, Floats] = {"mrr": 1 / best}
    for k in CUTOFFS:
        values[f"recall_at_{k}"] = np.bincount(query_of, weights=ranks <= k, minlength=len(queries)) / num_relevant
        values[f"hit_at_{k}"] = (best <= k).astype(np.float64)
    return MeanOutcome(values)


def _ranks(queries: FloatArray, items: FloatArray, query_of: Ints, item_of: Ints) -> Floats:
    """Return the rank, from 1, of each relevant pair's item; the earlier item wins ties; inf: not finite."""
    columns = np.arange(len(items))
    ranks = np.full(len(query_of), np.inf)
    for block, similarity in similarities(queries, items, rows=query_of):
        item = item_of[block]
        relevant = similarity[np.arange(len(item)), item][:, None]
        earlier = np.asarray(columns[None] < item[:, None])
        ahead: NDArray[np.bool_] = np.greater(similarity, relevant) | (np.equal(similarity, relevant) & earlier)
        finite = np.isfinite(relevant[:, 0])
        ranks[block][finite] = 1.0 + ahead[finite].sum(axis=1)
    return ranks


def _embeddings(features: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore", over="ignore"):
        return unit(features)


PROTOCOL = ProtocolDeclaration(
    kind="retrieval",
    label="retrieval",
    description="Captions are queries for the images of their products, and images are queries for captions.",
    config=RetrievalConfig,
    make_task=retrieval,
    metrics=METRICS,
    primaries=metric_names(METRICS),
    headlines=("recall_at_10", "mrr"),
    summary=("recall_at_10",),
    is_always_in_summary=True,
    parts=("text_to_image", "image_to_text"),
    reads_captions=lambda config: True,
)

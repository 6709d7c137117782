"""Retrieval from text to image and back, with every product that carries a text relevant to it.

`hit_at_k` is CLIP_benchmark's recall@k and the FashionCLIP paper's HIT@k: whether any relevant item is among the first
k. `recall_at_k` is the share of a query's relevant items that are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fclip.config import config
from fclip.errors import UserError
from fclip.evaluation.catalog import Catalog, clusters_of
from fclip.evaluation.metrics import MRR, names, recall_metrics
from fclip.evaluation.outcomes import Floats, Ints, MeanOutcome
from fclip.evaluation.protocols.registry import ProtocolDeclaration
from fclip.evaluation.protocols.task import Found, TaskOutcome
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
    """The task: `text_of` says which of the distinct `texts` each image's product carries."""

    images: tuple[str, ...]
    texts: tuple[str, ...]
    left_out: Mapping[str, int]
    items: tuple[str, ...]
    text_of: tuple[int, ...]
    clusters: Ints | None

    def judge(self, images: FloatArray, texts: FloatArray) -> dict[str, TaskOutcome]:
        outcomes = retrieve(images, texts, self.text_of)
        ranked = rank(_embeddings(texts), _embeddings(images), max(CUTOFFS)).documents
        own = np.asarray(self.text_of)[ranked] == np.arange(len(self.texts))[:, None]
        found = Found(self.items, ranked, (ranked >= 0) & own)
        return {
            "text_to_image": TaskOutcome(outcomes["text_to_image"], self.texts, found=found),
            "image_to_text": TaskOutcome(outcomes["image_to_text"], self.items, self.clusters),
        }


def retrieval(config: RetrievalConfig, catalog: Catalog, split: str, max_items: int | None) -> Retrieval:
    """The task on a split; raises UserError where none of its products has the caption."""
    products = catalog.of(split, max_items)
    judged = [product for product in products if config.caption in product.captions]
    if not judged:
        raise UserError(
            f"{catalog.name}: none of the {len(products)} products of the split {split} has a caption "
            f"`{config.caption}` to judge by: give the split more products, or take the protocol out of params.yaml"
        )
    captions = [product.captions[config.caption] for product in judged]
    texts = tuple(dict.fromkeys(captions))
    number = {text: index for index, text in enumerate(texts)}
    return Retrieval(
        images=tuple(product.image for product in judged),
        texts=texts,
        left_out={f"no caption `{config.caption}`": len(products) - len(judged)} if len(products) > len(judged) else {},
        items=tuple(product.product_id for product in judged),
        text_of=tuple(number[text] for text in captions),
        clusters=clusters_of([product.group_id for product in judged]),
    )


def retrieve(
    image_features: FloatArray, text_features: FloatArray, text_of_image: Sequence[int]
) -> dict[str, MeanOutcome]:
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


def _outcome(queries: FloatArray, items: FloatArray, query_of: Ints, item_of: Ints) -> MeanOutcome:
    """(query_of[i], item_of[i]) are the relevant pairs."""
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
    """Rank from 1 of each relevant pair's item among all items; ties go to the earlier item; inf where not finite."""
    columns = np.arange(len(items))
    ranks = np.full(len(query_of), np.inf)
    for block, similarity in similarities(queries, items, rows=query_of):
        item = item_of[block]
        own = similarity[np.arange(len(item)), item][:, None]
        earlier = np.asarray(columns[None] < item[:, None])
        ahead: NDArray[np.bool_] = np.greater(similarity, own) | (np.equal(similarity, own) & earlier)
        fine = np.isfinite(own[:, 0])
        ranks[block][fine] = 1.0 + ahead[fine].sum(axis=1)
    return ranks


def _embeddings(features: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore", over="ignore"):
        return unit(features)


PROTOCOL = ProtocolDeclaration(
    kind="retrieval",
    label="retrieval",
    description="Texts find the images of the products that carry them, and images their texts.",
    config=RetrievalConfig,
    make_task=retrieval,
    metrics=METRICS,
    primaries=names(METRICS),
    headlines=("recall_at_10", "mrr"),
    summary=("recall_at_10",),
    is_always_in_summary=True,
    parts=("text_to_image", "image_to_text"),
    reads_captions=lambda config: True,
)

"""Retrieval from image to image. A result is relevant if it shares an attribute value with the query."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fclip.config import config
from fclip.errors import UserError
from fclip.evaluation.catalog import Catalog, clusters_of
from fclip.evaluation.metrics import first_k_metrics, metric_names, ranking_metrics, recall_metrics
from fclip.evaluation.outcomes import Ints, MeanOutcome
from fclip.evaluation.protocols.registry import ProtocolDeclaration
from fclip.evaluation.protocols.task import SearchResults, TaskOutcome
from fclip.features.similarity import FloatArray, rank, unit

CUTOFFS = (1, 5, 10)


@config
class ImageRetrievalConfig:
    """Search by image: products with the same label are relevant.

    Products without a label, and products whose label no other product has, are left out and counted.
    """

    kind: Literal["image-retrieval"]
    label: str
    """The attribute that makes two products similar."""


@dataclass(frozen=True)
class ImageRetrieval:
    """The task: each image is a query, and the other images are the documents."""

    images: tuple[str, ...]
    left_out: Mapping[str, int]
    items: tuple[str, ...]
    labels: Ints
    clusters: Ints | None
    texts: tuple[str, ...] = ()

    def score(self, images: FloatArray, texts: FloatArray) -> dict[str, TaskOutcome]:
        outcome, ranked, relevant = neighbours(unit(images), self.labels)
        return {
            "": TaskOutcome(
                outcome, self.items, self.clusters, search_results=SearchResults(self.items, ranked, relevant)
            )
        }


def image_retrieval(
    config: ImageRetrievalConfig, catalog: Catalog, split: str, max_items: int | None
) -> ImageRetrieval:
    """Return the task on a split.

    Raises:
        UserError: no two products of the split share a value of the attribute.
    """
    products = catalog.products_in(split, max_items)
    labelled = [product for product in products if config.label in product.attributes]
    _, numbers, counts = np.unique(
        [product.attributes[config.label] for product in labelled], return_inverse=True, return_counts=True
    )
    scored = [product for product, number in zip(labelled, numbers, strict=True) if counts[number] > 1]
    if not scored:
        raise UserError(
            f"{catalog.name}: no two products of the split {split} share a {config.label}; "
            "give the split more products, or remove the protocol from params.yaml"
        )
    left_out = {
        f"no {config.label}": len(products) - len(labelled),
        f"unique {config.label}": len(labelled) - len(scored),
    }
    return ImageRetrieval(
        images=tuple(product.image for product in scored),
        left_out={reason: number for reason, number in left_out.items() if number},
        items=tuple(product.product_id for product in scored),
        labels=numbers[counts[numbers] > 1].astype(np.int64),
        clusters=clusters_of([product.group_id for product in scored]),
    )


def neighbours(embeddings: FloatArray, labels: Ints) -> tuple[MeanOutcome, Ints, NDArray[np.bool_]]:
    """Search the nearest other images of each image.

    Args:
        embeddings: float32 [n, d], normalised. labels: int [n]; each label occurs at least twice.

    Returns:
        The metrics, the ten nearest images int [n, 10], and whether each has the query's label, bool [n, 10].
    """
    ranked = rank(embeddings, embeddings, max(CUTOFFS), excluded=np.arange(len(labels))).documents
    relevant = (ranked >= 0) & (labels[ranked] == labels[:, None])
    num_relevant = np.bincount(labels)[labels] - 1
    ideal = (np.arange(max(CUTOFFS)) < num_relevant[:, None]).astype(np.int64)
    values = first_k_metrics(relevant.astype(np.int64), ideal, CUTOFFS, num_relevant=num_relevant)
    return MeanOutcome(values), ranked, relevant


PROTOCOL = ProtocolDeclaration(
    kind="image-retrieval",
    label="image to image",
    description="Each image is a query for other images; results with the same attribute value are relevant.",
    config=ImageRetrievalConfig,
    make_task=image_retrieval,
    metrics=ranking_metrics(CUTOFFS),
    primaries=(*metric_names(recall_metrics(CUTOFFS)), "mrr"),
    headlines=("ndcg_at_10", "recall_at_10", "mrr"),
)

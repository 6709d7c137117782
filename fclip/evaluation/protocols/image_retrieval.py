"""From an image to images: the nearest other products, right where they share an attribute's value."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fclip.config import config
from fclip.errors import UserError
from fclip.evaluation.catalog import Catalog, clusters_of
from fclip.evaluation.metrics import first_k_metrics, names, ranking_metrics, recall_metrics
from fclip.evaluation.outcomes import Ints, MeanOutcome
from fclip.evaluation.protocols.registry import ProtocolDeclaration
from fclip.evaluation.protocols.task import Found, TaskOutcome
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
class SimilarImages:
    """The task: every image is a query among the others."""

    images: tuple[str, ...]
    left_out: Mapping[str, int]
    items: tuple[str, ...]
    labels: Ints
    clusters: Ints | None
    texts: tuple[str, ...] = ()

    def judge(self, images: FloatArray, texts: FloatArray) -> dict[str, TaskOutcome]:
        outcome, ranked, relevant = neighbours(unit(images), self.labels)
        return {"": TaskOutcome(outcome, self.items, self.clusters, found=Found(self.items, ranked, relevant))}


def similar(config: ImageRetrievalConfig, catalog: Catalog, split: str, max_items: int | None) -> SimilarImages:
    """The task on a split; raises UserError where no two of its products share a value."""
    products = catalog.of(split, max_items)
    labelled = [product for product in products if config.label in product.attributes]
    _, numbers, counts = np.unique(
        [product.attributes[config.label] for product in labelled], return_inverse=True, return_counts=True
    )
    judged = [product for product, number in zip(labelled, numbers, strict=True) if counts[number] > 1]
    if not judged:
        raise UserError(f"{catalog.name}: no two products of the split {split} share a {config.label} to judge by")
    left_out = {
        f"no {config.label}": len(products) - len(labelled),
        f"alone with its {config.label}": len(labelled) - len(judged),
    }
    return SimilarImages(
        images=tuple(product.image for product in judged),
        left_out={why: number for why, number in left_out.items() if number},
        items=tuple(product.product_id for product in judged),
        labels=numbers[counts[numbers] > 1].astype(np.int64),
        clusters=clusters_of([product.group_id for product in judged]),
    )


def neighbours(embeddings: FloatArray, labels: Ints) -> tuple[MeanOutcome, Ints, NDArray[np.bool_]]:
    """Of each image the others, nearest first: metrics, the ten nearest int [n, 10], and whether each is right.

    Args:
        embeddings: float32 [n, d], normalised. labels: int [n], each at least twice.
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
    description="Each image finds the nearest others, which are right where they share its value of an attribute.",
    config=ImageRetrievalConfig,
    make_task=similar,
    metrics=ranking_metrics(CUTOFFS),
    primaries=(*names(recall_metrics(CUTOFFS)), "mrr"),
    headlines=("ndcg_at_10", "recall_at_10", "mrr"),
)

"""Zero-shot classification: the class with the most similar prompts (Radford et al. 2021, section 3.1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from fclip.config import config
from fclip.errors import UserError
from fclip.evaluation.catalog import Catalog, clusters_of
from fclip.evaluation.metrics import CLASSIFICATION, metric_names
from fclip.evaluation.outcomes import ClassificationOutcome, Ints
from fclip.evaluation.protocols.registry import ProtocolDeclaration
from fclip.evaluation.protocols.task import TaskOutcome
from fclip.features.similarity import FloatArray, finite_rows, similarities, unit


@config
class ZeroShotConfig:
    """Zero-shot classification of the primary image of each product.

    Products without a label are left out and counted.
    """

    kind: Literal["zero-shot"]
    label: str
    """The attribute whose values, over all splits, are the classes."""
    templates: tuple[str, ...] = ("a photo of a {}",)
    """Prompts with {} for the class; the embeddings of a class are averaged over them."""
    wordings: dict[str, str | list[str]] = field(default_factory=dict)
    """Text, or list of texts, to write for a class whose own name is unclear: {Outwear: jacket}."""
    pool: Literal["mean", "max"] = "mean"
    """How several wordings of a class are combined. `mean`: one embedding, their mean. `max`: the nearest wording
    counts, for classes of several things (Bottomwear: jeans, skirts)."""

    def __post_init__(self) -> None:
        check_templates(self.templates)
        if empty := [name for name, wording in self.wordings.items() if not wording or not all(wording)]:
            raise ValueError(f"wordings of {empty[0]} must be a text, or a list of at least one, none of them empty")

    def prompts(self, name: str) -> tuple[tuple[str, ...], ...]:
        """The texts of a class, by the points that they make: each of its wordings in each template."""
        wording = self.wordings.get(name, name)
        wordings = [wording] if isinstance(wording, str) else wording
        points = [tuple(template.replace("{}", each) for template in self.templates) for each in wordings]
        return tuple(points) if self.pool == "max" else (tuple(text for own in points for text in own),)


def check_templates(templates: Sequence[str]) -> None:
    """Raise ValueError unless there is at least one template and each contains {} for the class."""
    if not templates or not all("{}" in template for template in templates):
        raise ValueError("templates must be at least one text with {} in it")


@dataclass(frozen=True)
class ZeroShot:
    """The task.

    Attributes:
        texts: the prompts of all classes, in the order of the classes.
        labels: for each image, the index of its class in `classes`.
        num_prompts: for each class embedding, the number of prompts that are averaged.
        num_embeddings: for each class, the number of its embeddings: one, or one per wording with `pool: max`.
    """

    images: tuple[str, ...]
    texts: tuple[str, ...]
    left_out: Mapping[str, int]
    items: tuple[str, ...]
    classes: tuple[str, ...]
    labels: tuple[int, ...]
    num_prompts: tuple[int, ...]
    num_embeddings: tuple[int, ...]
    clusters: Ints | None

    def score(self, images: FloatArray, texts: FloatArray) -> dict[str, TaskOutcome]:
        outcome = classify(images, class_embeddings(texts, self.num_prompts), self.labels, self.num_embeddings)
        return {"": TaskOutcome(outcome, self.items, self.clusters, self.classes)}


def zero_shot(config: ZeroShotConfig, catalog: Catalog, split: str, max_items: int | None) -> ZeroShot:
    """Return the task on a split.

    Raises:
        UserError: no product of the catalog or of the split has the label, or a wording is for an unknown class.
    """
    classes = catalog.attribute_values(config.label)
    if unknown := sorted(set(config.wordings) - set(classes)):
        raise UserError(
            f"{catalog.name}: wordings of unknown classes: {', '.join(unknown)}; the classes are {', '.join(classes)}"
        )
    number = {name: index for index, name in enumerate(classes)}
    products = catalog.products_in(split, max_items)
    labelled = [product for product in products if config.label in product.attributes]
    if not labelled:
        raise UserError(
            f"{catalog.name}: none of the {len(products)} products of the split {split} has a {config.label}; "
            "give the split more products, or remove the protocol from params.yaml"
        )
    prompts = [config.prompts(name) for name in classes]
    num_left_out = len(products) - len(labelled)
    return ZeroShot(
        images=tuple(product.image for product in labelled),
        texts=tuple(text for groups in prompts for group in groups for text in group),
        left_out={f"no {config.label}": num_left_out} if num_left_out else {},
        items=tuple(product.product_id for product in labelled),
        classes=classes,
        labels=tuple(number[product.attributes[config.label]] for product in labelled),
        num_prompts=tuple(len(group) for groups in prompts for group in groups),
        num_embeddings=tuple(len(groups) for groups in prompts),
        clusters=clusters_of([product.group_id for product in labelled]),
    )


def class_embeddings(prompt_features: FloatArray, num_prompts: Sequence[int]) -> FloatArray:
    """Return the class embeddings: the normalised mean of the normalised features of each one's prompts.

    Args:
        prompt_features: float32 [prompts, d], in the order of the class embeddings.
        num_prompts: number of prompts of each class embedding, at least one.

    Returns:
        float32 [class embeddings, d].
    """
    begins = np.cumsum([0, *num_prompts[:-1]])
    sums: FloatArray = np.add.reduceat(unit(prompt_features), begins, axis=0)
    return unit(sums)  # the sum has the direction of the mean


def classify(
    image_features: FloatArray, embeddings: FloatArray, labels: Sequence[int], num_embeddings: Sequence[int]
) -> ClassificationOutcome:
    """Classify each image by the nearest class embedding.

    An image with features that are not finite counts as wrong. If a class embedding is not finite, all images do.

    Args:
        image_features: float32 [n, d].
        embeddings: float32 [class embeddings, d], normalised, in the order of the classes.
        labels: true class of each image.
        num_embeddings: number of embeddings of each class, at least one.
    """
    truth = np.asarray(labels, np.int64)
    finite = finite_rows(image_features)
    if not np.isfinite(embeddings).all():
        finite[:] = False
    predictions, ranks = np.full(len(truth), -1), np.zeros(len(truth), np.int64)
    begins = np.cumsum([0, *num_embeddings[:-1]])
    for block, to_embeddings in similarities(image_features, embeddings):
        similarity = np.maximum.reduceat(to_embeddings, begins, axis=1)
        predictions[block] = similarity.argmax(axis=1)
        correct = similarity[np.arange(len(similarity)), truth[block]][:, None]
        # Among equal similarities the first class wins, for the rank as for the prediction.
        earlier = np.arange(len(num_embeddings))[None] < truth[block][:, None]
        ranks[block] = 1 + ((similarity > correct) | ((similarity == correct) & earlier)).sum(axis=1)
    return ClassificationOutcome(
        truth, np.where(finite, predictions, -1), np.where(finite, ranks, 0), len(num_embeddings)
    )


PROTOCOL = ProtocolDeclaration(
    kind="zero-shot",
    label="zero-shot classification",
    description="Images are classified by the class with the most similar prompts.",
    config=ZeroShotConfig,
    make_task=zero_shot,
    metrics=CLASSIFICATION,
    primaries=metric_names(CLASSIFICATION),
    headlines=("weighted_f1", "acc1"),
    summary=("acc1", "weighted_f1"),
)

"""Zero-shot classification: the class whose prompts are nearest (Radford et al. 2021, section 3.1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from fclip.config import config
from fclip.errors import UserError
from fclip.evaluation.catalog import Catalog, clusters_of
from fclip.evaluation.metrics import CLASSIFICATION, names
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
    """Raise ValueError unless there is one, and each has a place for the class."""
    if not templates or not all("{}" in template for template in templates):
        raise ValueError("templates must be at least one text with {} in it")


@dataclass(frozen=True)
class ZeroShot:
    """The task: `labels` count in `classes`, and `texts` are the prompts of all classes, those of a class together.

    Attributes:
        num_prompts: of each point of each class, how many prompts make it.
        num_points: how many points each class has.
    """

    images: tuple[str, ...]
    texts: tuple[str, ...]
    left_out: Mapping[str, int]
    items: tuple[str, ...]
    classes: tuple[str, ...]
    labels: tuple[int, ...]
    num_prompts: tuple[int, ...]
    num_points: tuple[int, ...]
    clusters: Ints | None

    def judge(self, images: FloatArray, texts: FloatArray) -> dict[str, TaskOutcome]:
        outcome = classify(images, points(texts, self.num_prompts), self.labels, self.num_points)
        return {"": TaskOutcome(outcome, self.items, self.clusters, self.classes)}


def zero_shot(config: ZeroShotConfig, catalog: Catalog, split: str, max_items: int | None) -> ZeroShot:
    """The task on a split.

    Raises:
        UserError: no product of the catalog, or of the split, has the label; or wordings are of no class.
    """
    classes = catalog.values(config.label)
    if unknown := sorted(set(config.wordings) - set(classes)):
        raise UserError(f"{catalog.name}: wordings of no class: {', '.join(unknown)} (classes: {', '.join(classes)})")
    number = {name: index for index, name in enumerate(classes)}
    products = catalog.of(split, max_items)
    judged = [product for product in products if config.label in product.attributes]
    if not judged:
        raise UserError(
            f"{catalog.name}: none of the {len(products)} products of the split {split} has a {config.label} to judge "
            "by: give the split more products, or take the protocol out of params.yaml"
        )
    prompts = [config.prompts(name) for name in classes]
    return ZeroShot(
        images=tuple(product.image for product in judged),
        texts=tuple(text for own in prompts for point in own for text in point),
        left_out={f"no {config.label}": len(products) - len(judged)} if len(products) > len(judged) else {},
        items=tuple(product.product_id for product in judged),
        classes=classes,
        labels=tuple(number[product.attributes[config.label]] for product in judged),
        num_prompts=tuple(len(point) for own in prompts for point in own),
        num_points=tuple(len(own) for own in prompts),
        clusters=clusters_of([product.group_id for product in judged]),
    )


def points(prompt_features: FloatArray, num_prompts: Sequence[int]) -> FloatArray:
    """The mean of the normalised features of each point's prompts, normalised.

    Args:
        prompt_features: float32 [prompts, d], those of a point together.
        num_prompts: how many of them each point has, at least one.

    Returns:
        float32 [points, d].
    """
    begins = np.cumsum([0, *num_prompts[:-1]])
    sums: FloatArray = np.add.reduceat(unit(prompt_features), begins, axis=0)
    return unit(sums)  # the mean's direction


def classify(
    image_features: FloatArray, embeddings: FloatArray, labels: Sequence[int], num_points: Sequence[int]
) -> ClassificationOutcome:
    """The class of each image's nearest point; an image is never right where its features or a point are not finite.

    Args:
        image_features: float32 [n, d]. embeddings: float32 [points, d], normalised, those of a class together.
        labels: class of each image.
        num_points: how many points each class has, at least one.
    """
    truth = np.asarray(labels, np.int64)
    finite = finite_rows(image_features)
    if not np.isfinite(embeddings).all():
        finite[:] = False
    predictions, ranks = np.full(len(truth), -1), np.zeros(len(truth), np.int64)
    begins = np.cumsum([0, *num_points[:-1]])
    for block, to_points in similarities(image_features, embeddings):
        similarity = np.maximum.reduceat(to_points, begins, axis=1)
        predictions[block] = similarity.argmax(axis=1)
        own = similarity[np.arange(len(similarity)), truth[block]][:, None]
        # Ties go to the first class, in the rank as in the prediction.
        first = np.arange(len(num_points))[None] < truth[block][:, None]
        ranks[block] = 1 + ((similarity > own) | ((similarity == own) & first)).sum(axis=1)
    return ClassificationOutcome(truth, np.where(finite, predictions, -1), np.where(finite, ranks, 0), len(num_points))


PROTOCOL = ProtocolDeclaration(
    kind="zero-shot",
    label="zero-shot classification",
    description="Images are classified by the nearest of the classes' prompts.",
    config=ZeroShotConfig,
    make_task=zero_shot,
    metrics=CLASSIFICATION,
    primaries=names(CLASSIFICATION),
    headlines=("weighted_f1", "acc1"),
    summary=("acc1", "weighted_f1"),
)

"""Metrics of image embeddings that use no labels: margin, alignment and uniformity.

They help to choose a model for a domain without labels. Alignment and uniformity follow Wang & Isola 2020
("Understanding Contrastive Representation Learning through Alignment and Uniformity on the Hypersphere"), with the
nearest class in place of the positive example. None of the three knows the correct answer: a model can be confident
and wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fclip.config import config
from fclip.errors import UserError
from fclip.evaluation.catalog import Catalog, clusters_of
from fclip.evaluation.metrics import Metric
from fclip.evaluation.outcomes import Floats, Ints, MeanOutcome
from fclip.evaluation.protocols.registry import ProtocolDeclaration
from fclip.evaluation.protocols.task import TaskOutcome
from fclip.evaluation.protocols.zero_shot import check_templates, class_embeddings
from fclip.features.similarity import FloatArray, similarities, unit

LABEL_FREE = ("margin", "alignment", "uniformity")
MIN_SPREAD = 1e-6  # of cosines; a smaller spread is float32 rounding error, and margins in its units are noise
MAX_SQUARED_DISTANCE = 4.0  # between two unit vectors


@config
class LabelFreeConfig:
    """Confidence, closeness and uniformity of image embeddings around class names; reads no labels."""

    kind: Literal["label-free"]
    classes: tuple[str, ...]
    """At least two class names of the domain that the model is for."""
    templates: tuple[str, ...] = ("a photo of a {}",)
    """Prompts with {} for the class name; the embeddings of a class are averaged over them."""

    def __post_init__(self) -> None:
        if len(self.classes) < 2 or len(set(self.classes)) < len(self.classes) or not all(map(str.strip, self.classes)):
            raise ValueError("classes must be at least two different texts, none of them empty")
        check_templates(self.templates)

    def prompts(self, name: str) -> tuple[str, ...]:
        """The texts of a class: its name in each template."""
        return tuple(template.replace("{}", name) for template in self.templates)


@dataclass(frozen=True)
class LabelFree:
    """The task: `texts` contains the prompts of all classes in the order of the classes, `num_prompts` for each."""

    images: tuple[str, ...]
    texts: tuple[str, ...]
    items: tuple[str, ...]
    num_prompts: tuple[int, ...]
    clusters: Ints | None
    left_out: Mapping[str, int] = field(default_factory=dict)

    def score(self, images: FloatArray, texts: FloatArray) -> dict[str, TaskOutcome]:
        with np.errstate(invalid="ignore", over="ignore"):
            embeddings, classes = unit(images), class_embeddings(texts, self.num_prompts)
        values = {**margin_and_alignment(embeddings, classes), "uniformity": uniformity(embeddings)}
        return {"": TaskOutcome(MeanOutcome(values, success="margin"), self.items, self.clusters)}


def label_free(config: LabelFreeConfig, catalog: Catalog, split: str, max_items: int | None) -> LabelFree:
    """Return the task on all products of a split.

    Raises:
        UserError: the split has fewer than two products.
    """
    products = catalog.products_in(split, max_items)
    if len(products) < 2:
        raise UserError(
            f"{catalog.name}: a label-free protocol needs at least two products, and the split {split} has "
            f"{len(products)}; give the split more products, raise max_items, or remove the protocol from params.yaml"
        )
    prompts = [config.prompts(name) for name in config.classes]
    return LabelFree(
        images=tuple(product.image for product in products),
        texts=tuple(text for class_prompts in prompts for text in class_prompts),
        items=tuple(product.product_id for product in products),
        num_prompts=tuple(len(class_prompts) for class_prompts in prompts),
        clusters=clusters_of([product.group_id for product in products]),
    )


def margin_and_alignment(embeddings: FloatArray, classes: FloatArray) -> dict[str, Floats]:
    """Return the margin and the alignment of each image.

    `margin` is the largest minus the second largest cosine similarity to a class, in standard deviations of all
    similarities between images and classes. This makes models with different temperatures comparable. A higher margin
    is more confident. `alignment` is the squared distance to the nearest class, from 0 to 4. A lower one is closer.
    An embedding that is zero or not finite has margin 0 and alignment 4. With such a class, all images have
    these values.

    Args:
        embeddings: float32 [n, d], normalised. classes: float32 [at least 2, d], normalised.

    Returns:
        metric -> float64 [n].
    """
    values = {"margin": np.zeros(len(embeddings)), "alignment": np.full(len(embeddings), MAX_SQUARED_DISTANCE)}
    rows = np.flatnonzero(_have_direction(embeddings))
    if not len(rows) or not _have_direction(classes).all():
        return values
    cosines = np.concatenate([block for _, block in similarities(embeddings, classes, rows=rows)])
    values["alignment"][rows] = np.clip(2 - 2 * cosines.max(axis=1).astype(np.float64), 0, MAX_SQUARED_DISTANCE)
    spread = float(cosines.std(dtype=np.float64))
    if spread > MIN_SPREAD:
        second, first = np.partition(cosines, -2, axis=1)[:, -2:].T.astype(np.float64)
        values["margin"][rows] = (first - second) / spread
    return values


def uniformity(embeddings: FloatArray) -> Floats:
    """Return for each image x the mean of exp(−2‖x − y‖²) over all other images y.

    The value is 1 if all images have the same embedding; lower is more uniform. The uniformity in the paper is the
    logarithm of the mean of these values (t = 2). An embedding that is zero or not finite counts as equal to every
    other one, so that a broken model is never the most uniform. In bootstrap resamples, the value of an image does not
    change: it is the mean over all images.

    Args:
        embeddings: float32 [n, d], n at least 2, normalised.

    Returns:
        float64 [n].
    """
    num_images = len(embeddings)
    values = np.ones(num_images)
    rows = np.flatnonzero(_have_direction(embeddings))
    usable = np.ascontiguousarray(embeddings[rows])
    num_broken = num_images - len(rows)
    for block, pairs in similarities(usable, usable):
        np.minimum(pairs, 1, out=pairs)
        np.exp(4 * pairs - 4, out=pairs)  # ‖x − y‖² of unit vectors is 2 − 2 x·y
        pairs[np.arange(len(pairs)), np.arange(len(usable))[block]] = 0
        values[rows[block]] = (pairs.sum(axis=1, dtype=np.float64) + num_broken) / (num_images - 1)
    return values


def _have_direction(embeddings: FloatArray) -> NDArray[np.bool_]:
    """bool [n]: whether each row is finite and not zero."""
    return np.asarray(np.isfinite(embeddings).all(axis=1) & embeddings.any(axis=1))


PROTOCOL = ProtocolDeclaration(
    kind="label-free",
    label="label-free",
    description="Confidence, closeness to classes and spread of image embeddings, without labels.",
    config=LabelFreeConfig,
    make_task=label_free,
    metrics=tuple(Metric(name, name, direction=0) for name in LABEL_FREE),
)

"""How a model lies on images whose labels nobody reads: margins, alignment and uniformity.

For choosing among models where no label of a target domain is to be had. Alignment and uniformity are those of Wang &
Isola 2020 ("Understanding Contrastive Representation Learning through Alignment and Uniformity on the Hypersphere"),
with the nearest class in the place of the positive. None of the three knows a right answer: a model may be sure and
wrong.
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
from fclip.evaluation.protocols.zero_shot import check_templates, points
from fclip.features.similarity import FloatArray, similarities, unit

LABEL_FREE = ("margin", "alignment", "uniformity")
LEAST_SPREAD = 1e-6  # of cosines; what is below is float32's rounding, and a margin in its units would be noise
FARTHEST = 4.0  # the squared distance of two opposite unit features


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
    """The task: `texts` are the prompts of all classes, those of a class together, `num_prompts` of each."""

    images: tuple[str, ...]
    texts: tuple[str, ...]
    items: tuple[str, ...]
    num_prompts: tuple[int, ...]
    clusters: Ints | None
    left_out: Mapping[str, int] = field(default_factory=dict)

    def judge(self, images: FloatArray, texts: FloatArray) -> dict[str, TaskOutcome]:
        with np.errstate(invalid="ignore", over="ignore"):
            embeddings, classes = unit(images), points(texts, self.num_prompts)
        values = {**nearness(embeddings, classes), "uniformity": uniformity(embeddings)}
        return {"": TaskOutcome(MeanOutcome(values, success="margin"), self.items, self.clusters)}


def label_free(config: LabelFreeConfig, catalog: Catalog, split: str, max_items: int | None) -> LabelFree:
    """The task on a split: all of its products, whatever is known of them.

    Raises:
        UserError: there are fewer than two.
    """
    judged = catalog.of(split, max_items)
    if len(judged) < 2:
        raise UserError(
            f"{catalog.name}: a label-free protocol looks at pairs of images, and {len(judged)} of the split {split} "
            "is too few: give the split more products, raise max_items, or take the protocol out of params.yaml"
        )
    prompts = [config.prompts(name) for name in config.classes]
    return LabelFree(
        images=tuple(product.image for product in judged),
        texts=tuple(text for own in prompts for text in own),
        items=tuple(product.product_id for product in judged),
        num_prompts=tuple(len(own) for own in prompts),
        clusters=clusters_of([product.group_id for product in judged]),
    )


def nearness(embeddings: FloatArray, classes: FloatArray) -> dict[str, Floats]:
    """How near each image is to the nearest of the classes, and how much nearer than to the next.

    `margin`: largest − second largest cosine, in standard deviations of all cosines of images with classes, so that
    models of other temperature compare; more is surer. `alignment`: squared distance to the nearest class, from 0 to 4,
    less is closer. An image without a direction has 0 and 4, and so has every image where a class has none.

    Args:
        embeddings: float32 [n, d], normalised. classes: float32 [at least 2, d], normalised.

    Returns:
        float64 [n] each.
    """
    found = {"margin": np.zeros(len(embeddings)), "alignment": np.full(len(embeddings), FARTHEST)}
    rows = np.flatnonzero(_have_direction(embeddings))
    if not len(rows) or not _have_direction(classes).all():
        return found
    cosines = np.concatenate([block for _, block in similarities(embeddings, classes, rows=rows)])
    found["alignment"][rows] = np.clip(2 - 2 * cosines.max(axis=1).astype(np.float64), 0, FARTHEST)
    spread = float(cosines.std(dtype=np.float64))
    if spread > LEAST_SPREAD:
        second, first = np.partition(cosines, -2, axis=1)[:, -2:].T.astype(np.float64)
        found["margin"][rows] = (first - second) / spread
    return found


def uniformity(embeddings: FloatArray) -> Floats:
    """Of each image x the mean of exp(−2‖x − y‖²) over all other images y: 1 where all are at one point.

    The paper's uniformity is the logarithm of the mean of these (t = 2); less is more uniform. An image without a
    direction counts as being where every other is: a broken model is never the most uniform. In resamples, an image's
    value stays the one among all images.

    Args:
        embeddings: float32 [n, d], n at least 2, normalised.

    Returns:
        float64 [n].
    """
    num_images = len(embeddings)
    found = np.ones(num_images)
    rows = np.flatnonzero(_have_direction(embeddings))
    usable = np.ascontiguousarray(embeddings[rows])
    num_broken = num_images - len(rows)
    for block, pairs in similarities(usable, usable):
        np.minimum(pairs, 1, out=pairs)
        np.exp(4 * pairs - 4, out=pairs)  # ‖x − y‖² of unit vectors is 2 − 2 x·y
        pairs[np.arange(len(pairs)), np.arange(len(usable))[block]] = 0
        found[rows[block]] = (pairs.sum(axis=1, dtype=np.float64) + num_broken) / (num_images - 1)
    return found


def _have_direction(embeddings: FloatArray) -> NDArray[np.bool_]:
    """bool [n]: the rows that are finite and not all zeros; of zeros, a dead tower's, every cosine is 0."""
    return np.asarray(np.isfinite(embeddings).all(axis=1) & embeddings.any(axis=1))


PROTOCOL = ProtocolDeclaration(
    kind="label-free",
    label="label-free",
    description="How surely, closely and evenly images lie about classes, without any label.",
    config=LabelFreeConfig,
    make_task=label_free,
    metrics=tuple(Metric(name, name, direction=0) for name in LABEL_FREE),
)

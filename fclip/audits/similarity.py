"""Similarities of the images and the texts of a plan, for one model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fclip.audits.data import PlanFeatures
from fclip.audits.registry import AuditPlan
from fclip.evaluation.outcomes import Floats, Ints
from fclip.features.similarity import FloatArray, finite_rows, unit

PROMPT = "a photo of a {}"
"""The text of a category, as far as an audit does not compare prompts."""
TIE = 1e-6
"""Similarities that differ by less are equal: equal texts of different batches may round differently."""
BLOCK_VALUES = 4_000_000


@dataclass(frozen=True)
class Embeddings:
    """The normalised features of a plan by digest and by text. Rows that are not finite are NaN."""

    images: FloatArray
    texts: FloatArray
    image_rows: Mapping[str, int]
    text_rows: Mapping[str, int]

    @classmethod
    def of(cls, plan: AuditPlan, features: PlanFeatures) -> "Embeddings":
        return cls(
            _normalised(features.images),
            _normalised(features.texts),
            {digest: row for row, digest in enumerate(plan.images)},
            {text: row for row, text in enumerate(plan.texts)},
        )

    def of_images(self, digests: Sequence[str]) -> FloatArray:
        """Return float32 [number of digests, d]."""
        return self.images[[self.image_rows[digest] for digest in digests]]

    def of_texts(self, texts: Sequence[str]) -> FloatArray:
        """Return float32 [number of texts, d]."""
        return self.texts[[self.text_rows[text] for text in texts]]


def preferred(first: Floats | FloatArray, second: Floats | FloatArray) -> Floats:
    """Return 1 where `first` is larger, 0.5 where they are equal, 0 where it is smaller or one of them is NaN."""
    with np.errstate(invalid="ignore"):
        return np.where(first > second + TIE, 1.0, np.where(np.abs(first - second) <= TIE, 0.5, 0.0))


def blocks(num_rows: int, num_columns: int) -> Iterator[slice]:
    """Yield the rows of a matrix in blocks that are small enough for memory."""
    step = max(1, BLOCK_VALUES // max(num_columns, 1))
    for begin in range(0, num_rows, step):
        yield slice(begin, min(begin + step, num_rows))


def nearest(images: FloatArray, class_texts: FloatArray) -> Ints:
    """Return the nearest class text of each image, int [n]; -1 where a feature is not finite.

    Args:
        images: float32 [n, d]. class_texts: float32 [number of classes, d].
    """
    similarity = images @ class_texts.T
    finite = np.isfinite(similarity).all(axis=1)
    return np.where(finite, np.where(finite[:, None], similarity, 0).argmax(axis=1), -1)


def classify(images: FloatArray, class_texts: FloatArray, labels: Ints) -> Floats:
    """Return 1 for each image whose nearest class text is that of its label, int [n], else 0."""
    return (nearest(images, class_texts) == labels).astype(np.float64)


def ranks_of_own(texts: FloatArray, images: FloatArray, groups: Ints) -> Ints:
    """Return the rank of image i for text i among all images, from 1; the number of images + 1 if it has none.

    Other images of its group, such as near-duplicates, do not count. Ties count against it.

    Args:
        texts, images: float32 [n, d]. groups: int [n].
    """
    ranks = np.empty(len(texts), np.int64)
    for block in blocks(len(texts), len(images)):
        similarity = texts[block] @ images.T
        rows = np.arange(block.start, block.stop)
        own = similarity[np.arange(len(rows)), rows][:, None]
        others = groups[block][:, None] != groups[None, :]
        with np.errstate(invalid="ignore"):
            before = (others & ~(similarity < own - TIE)).sum(axis=1)
        ranks[block] = np.where(np.isnan(own[:, 0]), len(images) + 1, 1 + before)
    return ranks


def _normalised(features: FloatArray) -> FloatArray:
    if not len(features):
        return features
    finite = finite_rows(features)
    result = np.full(features.shape, np.nan, np.float32)
    result[finite] = unit(features[finite])
    return result

"""Zero-shot classification: the class whose prompt is nearest (Radford et al. 2021, section 3.1)."""

from collections.abc import Sequence

import numpy as np

from fclip.evaluation.config import ClassificationConfig
from fclip.evaluation.metrics import ClassificationOutcome
from fclip.features.encode import FloatArray, unit


def prompts(classes: Sequence[str], config: ClassificationConfig) -> list[tuple[str, ...]]:
    """The texts of each class: each of its wordings in each template."""
    return [
        tuple(template.replace("{}", wording) for wording in config.wordings_of(name) for template in config.templates)
        for name in classes
    ]


def class_embeddings(prompt_features: FloatArray, num_prompts: Sequence[int]) -> FloatArray:
    """Of each class, the mean of its prompts' normalised features, normalised.

    Args:
        prompt_features: float32 [prompts, d], those of a class together.
        num_prompts: how many of them each class has, at least one.

    Returns:
        float32 [classes, d].
    """
    begins = np.cumsum([0, *num_prompts[:-1]])
    sums: FloatArray = np.add.reduceat(unit(prompt_features), begins, axis=0)
    return unit(sums)  # the mean's direction


def classify(image_features: FloatArray, embeddings: FloatArray, labels: Sequence[int]) -> ClassificationOutcome:
    """The nearest class of each image; an image or a class with features that are not finite is never right.

    Args:
        image_features: float32 [n, d]. embeddings: float32 [classes, d], normalised. labels: class of each image.
    """
    finite = np.isfinite(image_features).all(axis=1)
    if np.isfinite(embeddings).all() and finite.any():
        similarity = np.nan_to_num(image_features, posinf=0.0, neginf=0.0) @ embeddings.T
        predictions = np.where(finite, similarity.argmax(axis=1), -1)
    else:
        predictions = np.full(len(image_features), -1)
    return ClassificationOutcome(np.asarray(labels, np.int64), predictions.astype(np.int64), len(embeddings))

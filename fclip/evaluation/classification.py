"""Zero-shot classification: the class whose prompt is nearest (Radford et al. 2021, section 3.1)."""

from collections.abc import Sequence

import numpy as np

from fclip.evaluation.config import ClassificationConfig
from fclip.evaluation.metrics import ClassificationOutcome
from fclip.features.encode import FloatArray, unit


def prompts(classes: Sequence[str], config: ClassificationConfig) -> list[str]:
    """Each class in each template, in its wording: classes × templates texts, those of a class together."""
    return [
        template.replace("{}", config.wordings.get(name, name)) for name in classes for template in config.templates
    ]


def class_embeddings(prompt_features: FloatArray, num_classes: int) -> FloatArray:
    """float32 [classes, d]: of each class, the mean of its prompts' normalised features, normalised."""
    features = unit(prompt_features)
    return unit(features.reshape(num_classes, -1, features.shape[1]).mean(axis=1))


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

"""A protocol on one split: what it wants encoded, and what it makes of the features."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fclip.evaluation.outcomes import Ints, Outcome
from fclip.features.similarity import FloatArray


@dataclass(frozen=True)
class Found:
    """What was found for each of n queries, for people to look at.

    Attributes:
        documents: ids of all products that could be found.
        ranked: int [n, k], the first of them, -1 where there are no more.
        relevant: bool [n, k].
    """

    documents: tuple[str, ...]
    ranked: Ints
    relevant: NDArray[np.bool_]


@dataclass(frozen=True)
class TaskOutcome:
    """What happened to the items of a task.

    Attributes:
        items: what each item is, for people: a product's id, or a query in words.
        clusters: int [n], which items come and go together in resamples; None: none do.
        classes: names, of a classification.
        found: of a search, what came first; the outcome is then a `MeanOutcome` with `mrr`.
    """

    outcome: Outcome
    items: tuple[str, ...]
    clusters: Ints | None = None
    classes: tuple[str, ...] = ()
    found: Found | None = None


class EvaluationTask(Protocol):
    """What a protocol asks of a model.

    Attributes:
        images: digests of the images to encode. texts: the texts.
        left_out: why products of the split are not judged -> how many.
    """

    @property
    def images(self) -> tuple[str, ...]: ...

    @property
    def texts(self) -> tuple[str, ...]: ...

    @property
    def left_out(self) -> Mapping[str, int]: ...

    def judge(self, images: FloatArray, texts: FloatArray) -> dict[str, TaskOutcome]:
        """Outcomes by their part of the protocol's name ("" where there is one), of features as they were asked for.

        Args:
            images: float32 [number of images, d], not normalised. texts: the same of the texts.
        """
        ...

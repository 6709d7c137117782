"""The task of a protocol on one split: the images and texts to encode, and the scoring of their features."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fclip.evaluation.outcomes import Ints, Outcome
from fclip.features.similarity import FloatArray


@dataclass(frozen=True)
class SearchResults:
    """The first results of each of n queries, for the comparison page.

    Attributes:
        documents: ids of all products that were searched.
        ranked: int [n, k], rows of the first k results in `documents`; -1: no more results.
        relevant: bool [n, k], whether each result is relevant.
    """

    documents: tuple[str, ...]
    ranked: Ints
    relevant: NDArray[np.bool_]


@dataclass(frozen=True)
class TaskOutcome:
    """The outcome of a task and its items.

    Attributes:
        items: the id of each product, or the text of each query.
        clusters: int [n], the cluster of each item for resampling; None: every item is a cluster.
        classes: names of the classes; empty if the task is not a classification.
        search_results: results of a search; None for other tasks. The outcome is then a `MeanOutcome` with `mrr`.
    """

    outcome: Outcome
    items: tuple[str, ...]
    clusters: Ints | None = None
    classes: tuple[str, ...] = ()
    search_results: SearchResults | None = None


class EvaluationTask(Protocol):
    """A protocol on one split.

    Attributes:
        images: digests of the images to encode. texts: the texts to encode.
        left_out: reason -> number of items of the split that are not scored for this reason.
    """

    @property
    def images(self) -> tuple[str, ...]: ...

    @property
    def texts(self) -> tuple[str, ...]: ...

    @property
    def left_out(self) -> Mapping[str, int]: ...

    def score(self, images: FloatArray, texts: FloatArray) -> dict[str, TaskOutcome]:
        """Score the features of `images` and `texts`.

        Args:
            images: float32 [number of images, d], not normalised. texts: float32 [number of texts, d], not normalised.

        Returns:
            part of the protocol -> outcome; the only part of a protocol without parts is "".
        """
        ...

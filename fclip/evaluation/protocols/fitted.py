"""Classifiers fitted on frozen image features: a linear probe and k nearest neighbours.

The linear probe is that of the FashionCLIP paper: logistic regression on image features. Both are fitted on one split
and scored on another. They do not change the model.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from fclip.config import config
from fclip.errors import UserError
from fclip.evaluation.catalog import Catalog, clusters_of
from fclip.evaluation.metrics import CLASSIFICATION, metric_names
from fclip.evaluation.outcomes import ClassificationOutcome, Floats, Ints
from fclip.evaluation.protocols.registry import ProtocolDeclaration
from fclip.evaluation.protocols.task import TaskOutcome
from fclip.features.similarity import FloatArray, finite_rows, rank, unit

MAX_ITERATIONS = 200


@config
class LinearProbeConfig:
    """Logistic regression on normalised image features."""

    kind: Literal["linear-probe"]
    label: str
    """The attribute whose values are the classes."""
    fit: str = "val"
    """The split that the regression is fitted on; the other splits are evaluated."""
    l2: float = 1e-4
    """Weight of the squared coefficients, added to the mean loss; above 0."""

    def __post_init__(self) -> None:
        if self.l2 <= 0:
            raise ValueError("l2 must be above 0")


@config
class NeighboursConfig:
    """Classification by the k nearest images of one split: the most frequent class; in a tie, that of the nearest."""

    kind: Literal["k-nn"]
    label: str
    """The attribute whose values are the classes."""
    fit: str = "val"
    """The split with the labelled images; the other splits are evaluated."""
    k: int = 20
    """Number of nearest images, at least 1."""

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError("k must be at least 1")


FittedConfig: TypeAlias = LinearProbeConfig | NeighboursConfig


@dataclass(frozen=True)
class FittedClassification:
    """The task: the classifier is fitted on the first `num_fitted` images and scored on the others.

    Attributes:
        items: product ids of the scored images. labels: int, classes of all images.
    """

    config: FittedConfig
    images: tuple[str, ...]
    left_out: Mapping[str, int]
    items: tuple[str, ...]
    labels: Ints
    num_fitted: int
    classes: tuple[str, ...]
    clusters: Ints | None
    texts: tuple[str, ...] = ()

    def score(self, images: FloatArray, texts: FloatArray) -> dict[str, TaskOutcome]:
        embeddings, num_classes = unit(images), len(self.classes)
        known, queries = embeddings[: self.num_fitted], embeddings[self.num_fitted :]
        labels, truth = self.labels[: self.num_fitted], self.labels[self.num_fitted :]
        usable, finite = finite_rows(known), finite_rows(queries)
        scores: Floats
        if not usable.any():
            scores = np.zeros((len(queries), num_classes))
            finite[:] = False
        elif isinstance(self.config, LinearProbeConfig):
            weights, bias = logistic_regression(known[usable], labels[usable], num_classes, self.config.l2)
            scores = (np.where(finite[:, None], queries, 0) @ weights.T + bias).astype(np.float64)
        else:
            scores = votes(known[usable], labels[usable], queries, num_classes, self.config.k)
        order = np.argsort(-scores, axis=1, kind="stable")
        ranks = 1 + (order == truth[:, None]).argmax(axis=1)
        outcome = ClassificationOutcome(
            truth, np.where(finite, order[:, 0], -1), np.where(finite, ranks, 0), num_classes
        )
        return {"": TaskOutcome(outcome, self.items, self.clusters, self.classes)}


def fitted(config: FittedConfig, catalog: Catalog, split: str, max_items: int | None) -> FittedClassification | None:
    """Return the task on a split; None for the fitted split itself and for a split without a class of the fitted split.

    Products of a class that the fitted split lacks, such as a hold-out, are left out: the classifier cannot predict it.

    Raises:
        UserError: a split has no product with the label.
    """
    if split == config.fit:
        return None
    classes = {name: number for number, name in enumerate(catalog.attribute_values(config.label))}
    labelled = {
        name: [product for product in catalog.products_in(name, max_items) if config.label in product.attributes]
        for name in (config.fit, split)
    }
    for name, products in labelled.items():
        if not products:
            raise UserError(
                f"{catalog.name}: the split {name} has no product with a {config.label}; give the split more products, "
                "or remove the protocol from params.yaml"
            )
    known = labelled[config.fit]
    fitted_on = {product.attributes[config.label] for product in known}
    scored = [product for product in labelled[split] if product.attributes[config.label] in fitted_on]
    if not scored:
        return None
    left_out = {
        f"no {config.label}": len(catalog.products_in(split, max_items)) - len(labelled[split]),
        f"a {config.label} that the split {config.fit} lacks": len(labelled[split]) - len(scored),
    }
    return FittedClassification(
        config=config,
        images=tuple(product.image for product in known + scored),
        left_out={reason: number for reason, number in left_out.items() if number},
        items=tuple(product.product_id for product in scored),
        labels=np.array([classes[product.attributes[config.label]] for product in known + scored], np.int64),
        num_fitted=len(known),
        classes=tuple(classes),
        clusters=clusters_of([product.group_id for product in scored]),
    )


def logistic_regression(
    features: FloatArray, labels: Ints, num_classes: int, l2: float
) -> tuple[FloatArray, FloatArray]:
    """Fit multinomial logistic regression by L-BFGS from zero.

    Args:
        features: float32 [n, d]. labels: int [n].
        l2: factor of the squared weights, without the bias, relative to the mean loss.

    Returns:
        Weights, float32 [classes, d], and bias, float32 [classes].
    """
    import torch  # imported here to keep the parsing of params fast

    inputs, targets = torch.from_numpy(np.ascontiguousarray(features)), torch.from_numpy(labels)
    weights = torch.zeros(num_classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(num_classes, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights, bias], max_iter=MAX_ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(inputs @ weights.T + bias, targets) + l2 * weights.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimiser.step(closure)
    return weights.detach().numpy(), bias.detach().numpy()


def votes(known: FloatArray, labels: Ints, queries: FloatArray, num_classes: int, k: int) -> Floats:
    """Return the votes of the k nearest images, float64 [n, classes]; nearness adds less than one vote."""
    ranked = rank(queries, known, k)
    scores = np.zeros((len(queries), num_classes))
    for position in range(ranked.documents.shape[1]):
        rows = np.flatnonzero(ranked.documents[:, position] >= 0)
        classes = labels[ranked.documents[rows, position]]
        np.add.at(scores, (rows, classes), 1.0)
        # Powers of one half break ties: the tied class with the nearest image wins.
        np.add.at(scores, (rows, classes), 0.5 ** min(position + 1, 50))
    return scores


LINEAR_PROBE = ProtocolDeclaration(
    kind="linear-probe",
    label="linear probe",
    description="Images are classified by a logistic regression fitted on the features of another split.",
    config=LinearProbeConfig,
    make_task=fitted,
    metrics=CLASSIFICATION,
    primaries=metric_names(CLASSIFICATION),
    headlines=("weighted_f1", "acc1"),
    summary=("acc1", "weighted_f1"),
)
NEIGHBOURS = replace(
    LINEAR_PROBE,
    kind="k-nn",
    label="k nearest neighbours",
    description="Images are classified by the classes of the nearest images of another split.",
    config=NeighboursConfig,
)

"""What image features hold for a classifier fitted on them: a linear probe, and the k nearest neighbours.

The probe is the FashionCLIP paper's: logistic regression on frozen image features. Both are fitted on another split
than they are judged on, and never change the model.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from fclip.config import config
from fclip.errors import UserError
from fclip.evaluation.catalog import Catalog, clusters_of
from fclip.evaluation.metrics import CLASSIFICATION, names
from fclip.evaluation.outcomes import ClassificationOutcome, Floats, Ints
from fclip.evaluation.protocols.registry import ProtocolDeclaration
from fclip.evaluation.protocols.task import TaskOutcome
from fclip.features.similarity import FloatArray, finite_rows, rank, unit

MOST_ITERATIONS = 200


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
class Fitted:
    """The task: the first `num_fitted` images are fitted on, the others judged; `labels` are of all."""

    config: FittedConfig
    images: tuple[str, ...]
    left_out: Mapping[str, int]
    items: tuple[str, ...]
    labels: Ints
    num_fitted: int
    classes: tuple[str, ...]
    clusters: Ints | None
    texts: tuple[str, ...] = ()

    def judge(self, images: FloatArray, texts: FloatArray) -> dict[str, TaskOutcome]:
        embeddings, num_classes = unit(images), len(self.classes)
        known, asked = embeddings[: self.num_fitted], embeddings[self.num_fitted :]
        labels, truth = self.labels[: self.num_fitted], self.labels[self.num_fitted :]
        usable, finite = finite_rows(known), finite_rows(asked)
        scores: Floats
        if not usable.any():
            scores = np.zeros((len(asked), num_classes))
            finite[:] = False
        elif isinstance(self.config, LinearProbeConfig):
            weights, bias = logistic_regression(known[usable], labels[usable], num_classes, self.config.l2)
            scores = (np.where(finite[:, None], asked, 0) @ weights.T + bias).astype(np.float64)
        else:
            scores = votes(known[usable], labels[usable], asked, num_classes, self.config.k)
        order = np.argsort(-scores, axis=1, kind="stable")
        ranks = 1 + (order == truth[:, None]).argmax(axis=1)
        outcome = ClassificationOutcome(
            truth, np.where(finite, order[:, 0], -1), np.where(finite, ranks, 0), num_classes
        )
        return {"": TaskOutcome(outcome, self.items, self.clusters, self.classes)}


def fitted(config: FittedConfig, catalog: Catalog, split: str, max_items: int | None) -> Fitted | None:
    """The task on a split; None for the split that is fitted on, and one that has no class in common with it.

    What is of a class that the fitted split lacks, as a hold-out is, is left out: no classifier could name it.

    Raises:
        UserError: a split has no product with the label.
    """
    if split == config.fit:
        return None
    classes = {name: number for number, name in enumerate(catalog.values(config.label))}
    found = {
        name: [product for product in catalog.of(name, max_items) if config.label in product.attributes]
        for name in (config.fit, split)
    }
    for name, products in found.items():
        if not products:
            raise UserError(f"{catalog.name}: the split {name} has no product with a {config.label} to fit or judge by")
    known = found[config.fit]
    fitted_on = {product.attributes[config.label] for product in known}
    asked = [product for product in found[split] if product.attributes[config.label] in fitted_on]
    if not asked:
        return None
    left_out = {
        f"no {config.label}": len(catalog.of(split, max_items)) - len(found[split]),
        f"a {config.label} that {config.fit} does not have": len(found[split]) - len(asked),
    }
    return Fitted(
        config=config,
        images=tuple(product.image for product in known + asked),
        left_out={why: number for why, number in left_out.items() if number},
        items=tuple(product.product_id for product in asked),
        labels=np.array([classes[product.attributes[config.label]] for product in known + asked], np.int64),
        num_fitted=len(known),
        classes=tuple(classes),
        clusters=clusters_of([product.group_id for product in asked]),
    )


def logistic_regression(
    features: FloatArray, labels: Ints, num_classes: int, l2: float
) -> tuple[FloatArray, FloatArray]:
    """Multinomial, from zero, by L-BFGS: weights float32 [classes, d] and bias [classes].

    Args:
        features: float32 [n, d]. labels: int [n].
        l2: weight of the squared weights (not the bias), beside the mean loss.
    """
    import torch  # params are parsed with this module, and do not wait for it

    inputs, targets = torch.from_numpy(np.ascontiguousarray(features)), torch.from_numpy(labels)
    weights = torch.zeros(num_classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(num_classes, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights, bias], max_iter=MOST_ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(inputs @ weights.T + bias, targets) + l2 * weights.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimiser.step(closure)
    return weights.detach().numpy(), bias.detach().numpy()


def votes(known: FloatArray, labels: Ints, asked: FloatArray, num_classes: int, k: int) -> Floats:
    """float64 [n, classes]: how many of the k nearest have each class, and less than one vote more for being near."""
    ranked = rank(asked, known, k)
    scores = np.zeros((len(asked), num_classes))
    places = ranked.documents.shape[1]
    for place in range(places):
        rows = np.flatnonzero(ranked.documents[:, place] >= 0)
        own = labels[ranked.documents[rows, place]]
        np.add.at(scores, (rows, own), 1.0)
        # Powers of a half: the nearest of the tied classes' neighbours decides, whatever comes after it.
        np.add.at(scores, (rows, own), 0.5 ** min(place + 1, 50))
    return scores


LINEAR_PROBE = ProtocolDeclaration(
    kind="linear-probe",
    label="linear probe",
    description="Images are classified by a logistic regression on the features of another split.",
    config=LinearProbeConfig,
    make_task=fitted,
    metrics=CLASSIFICATION,
    primaries=names(CLASSIFICATION),
    headlines=("weighted_f1", "acc1"),
    summary=("acc1", "weighted_f1"),
)
NEIGHBOURS = replace(
    LINEAR_PROBE,
    kind="k-nn",
    label="nearest neighbours",
    description="Images are classified by the classes of the nearest images of another split.",
    config=NeighboursConfig,
)

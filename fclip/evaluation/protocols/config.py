"""What params say of each protocol. Nothing is computed here, so that reading params takes no time."""

from collections.abc import Mapping, Sequence
from typing import Literal

from fclip.config import config


@config
class ZeroShotConfig:
    """Each product's primary image, by an attribute; products without it are left out, counted.

    label: the attribute whose values, over all splits, are the classes.
    templates: prompts with `{}` for the class; their features are averaged.
    wordings: what to write for a class where its own name is no English for it, or stands for several things: a text,
        or a list of texts.
    pool: what several wordings of a class make. `mean`: one point, the mean of their features. `max`: each is a point
        of its own, and the nearest counts: for classes that are several things ("Bottomwear": jeans, skirts).
    """

    kind: Literal["zero-shot"]
    label: str
    templates: list[str]
    wordings: dict[str, str | list[str]]
    pool: Literal["mean", "max"]

    def __post_init__(self) -> None:
        _check_templates(self.templates)
        if empty := [name for name, wording in self.wordings.items() if not wording or not all(wording)]:
            raise ValueError(f"wordings of {empty[0]} must be a text, or a list of at least one, none of them empty")

    def prompts(self, name: str) -> tuple[tuple[str, ...], ...]:
        """The texts of a class, by the points that they make: each of its wordings in each template."""
        wording = self.wordings.get(name, name)
        wordings = [wording] if isinstance(wording, str) else wording
        points = [tuple(template.replace("{}", each) for template in self.templates) for each in wordings]
        return tuple(points) if self.pool == "max" else (tuple(text for own in points for text in own),)


@config
class RetrievalConfig:
    """Text to image and image to text, by one kind of caption; products without it are left out, counted."""

    kind: Literal["retrieval"]
    caption: str


@config
class ProductsConfig:
    """Search by the values of an attribute.

    query: the attribute; each of its values in the split is a query, as it is written.
    documents: weights of a product's fields, `image` and kinds of captions.
    """

    kind: Literal["products"]
    query: str
    documents: dict[str, float]

    def __post_init__(self) -> None:
        _check_weights(self.documents)


@config
class JudgedConfig:
    """Search by the queries of `ingest.datasets.<dataset>.judgements`.

    documents: weights of a product's fields, `image` and kinds of captions.
    """

    kind: Literal["judged"]
    documents: dict[str, float]

    def __post_init__(self) -> None:
        _check_weights(self.documents)


@config
class SimilarConfig:
    """Search by image, judged by the attribute `label`; products without it, or alone with it, are left out."""

    kind: Literal["similar"]
    label: str


@config
class LinearProbeConfig:
    """Logistic regression on normalised image features.

    label: the attribute. fit: the split that it is fitted on. l2: weight of the squared coefficients, beside the mean
    loss.
    """

    kind: Literal["linear-probe"]
    label: str
    fit: str
    l2: float

    def __post_init__(self) -> None:
        if self.l2 <= 0:
            raise ValueError("l2 must be above 0")


@config
class NeighboursConfig:
    """The class that most of the k nearest images of the split `fit` have; a tie goes to the nearest of them."""

    kind: Literal["k-nn"]
    label: str
    fit: str
    k: int

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError("k must be at least 1")


@config
class LabelFreeConfig:
    """How surely, closely and evenly images lie about `classes`; no label is read, and every product is judged.

    classes: names to tell apart, those of the domain that the model is for.
    templates: prompts with `{}` for the class; their features are averaged.
    """

    kind: Literal["label-free"]
    classes: list[str]
    templates: list[str]

    def __post_init__(self) -> None:
        if len(self.classes) < 2 or len(set(self.classes)) < len(self.classes) or not all(map(str.strip, self.classes)):
            raise ValueError("classes must be at least two texts, each other and none of them empty")
        _check_templates(self.templates)

    def prompts(self, name: str) -> tuple[str, ...]:
        """The texts of a class: its name in each template."""
        return tuple(template.replace("{}", name) for template in self.templates)


def _check_templates(templates: Sequence[str]) -> None:
    """Raise ValueError unless there is one, and each has a place for the class."""
    if not templates or not all("{}" in template for template in templates):
        raise ValueError("templates must be at least one text with {} in it")


def _check_weights(weights: Mapping[str, float]) -> None:
    """Raise ValueError unless some field has a weight, and none a negative one."""
    if not weights or min(weights.values()) <= 0:
        raise ValueError("documents must be fields with weights above 0, as {image: 0.9, title: 0.1}")

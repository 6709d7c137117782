"""Products as documents of several fields: an image and captions, each with a weight, as one vector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fclip.evaluation.catalog import Product
from fclip.features.similarity import FloatArray, unit

IMAGE = "image"


def check_weights(weights: Mapping[str, float]) -> None:
    """Raise ValueError unless some field has a weight, and none a negative one."""
    if not weights or min(weights.values()) <= 0:
        raise ValueError("documents must be fields with weights above 0, as {image: 0.9, title: 0.1}")


@dataclass(frozen=True)
class Documents:
    """What of each product is encoded, and with which weights: `image`, and kinds of captions.

    Attributes:
        text_rows: of each kind of caption, which row of `texts` each product has; -1: none.
    """

    weights: Mapping[str, float]
    images: tuple[str, ...]
    texts: tuple[str, ...]
    text_rows: Mapping[str, tuple[int, ...]]

    def embeddings(self, images: FloatArray, texts: FloatArray) -> FloatArray:
        """float32 [n, d], normalised: the weighted sum of the normalised fields, as marqo-FashionCLIP makes it.

        A product that lacks a field is what its other fields make it.
        """
        of_texts = np.concatenate([unit(texts), np.zeros((1, texts.shape[1]), np.float32)])
        fields = {kind: of_texts[np.asarray(rows, np.int64)] for kind, rows in self.text_rows.items()}
        if self.images:
            fields[IMAGE] = unit(images)
        weighted = [np.float32(self.weights[name]) * rows for name, rows in fields.items()]
        return unit(np.sum(weighted, axis=0))


def documents(products: Sequence[Product], weights: Mapping[str, float]) -> Documents:
    """The documents of some products; texts are distinct."""
    kinds = [kind for kind in weights if kind != IMAGE]
    texts = tuple(dict.fromkeys(p.captions[kind] for kind in kinds for p in products if kind in p.captions))
    number = {text: row for row, text in enumerate(texts)}
    return Documents(
        weights=weights,
        images=tuple(product.image for product in products) if IMAGE in weights else (),
        texts=texts,
        text_rows={
            kind: tuple(number[p.captions[kind]] if kind in p.captions else -1 for p in products) for kind in kinds
        },
    )


def read_captions(config: Any) -> bool:
    """Whether a protocol's config gives `documents` that hold more than an image."""
    return set(config.documents) != {IMAGE}

"""Products as documents: the weighted fields of a product (image and captions) as one vector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fclip.evaluation.catalog import CatalogProduct
from fclip.features.similarity import FloatArray, unit

IMAGE = "image"


def check_weights(weights: Mapping[str, float]) -> None:
    """Raise ValueError unless there is at least one field and all weights are above 0."""
    if not weights or min(weights.values()) <= 0:
        raise ValueError("documents must contain fields with weights above 0, for example {image: 0.9, title: 0.1}")


@dataclass(frozen=True)
class Documents:
    """The fields to encode for each of n products.

    Attributes:
        weights: field -> weight; a field is `image` or a kind of caption.
        images: digest of each product's image; empty if `image` is no field.
        texts: distinct captions.
        text_rows: kind of caption -> row in `texts` for each product; -1: no caption.
    """

    weights: Mapping[str, float]
    images: tuple[str, ...]
    texts: tuple[str, ...]
    text_rows: Mapping[str, tuple[int, ...]]

    def embeddings(self, images: FloatArray, texts: FloatArray) -> FloatArray:
        """Return the normalised weighted sums of the normalised fields, float32 [n, d], as in marqo-FashionCLIP.

        A missing field of a product is left out of its sum.
        """
        padded = np.concatenate([unit(texts), np.zeros((1, texts.shape[1]), np.float32)])  # row -1 is zero
        fields = {kind: padded[np.asarray(rows, np.int64)] for kind, rows in self.text_rows.items()}
        if self.images:
            fields[IMAGE] = unit(images)
        weighted = [np.float32(self.weights[name]) * rows for name, rows in fields.items()]
        return unit(np.sum(weighted, axis=0))


def documents(products: Sequence[CatalogProduct], weights: Mapping[str, float]) -> Documents:
    """Return the documents of the products."""
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
    """Whether the `documents` of a protocol's config contain captions."""
    return set(config.documents) != {IMAGE}

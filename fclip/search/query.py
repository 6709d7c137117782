"""What is searched for: a text, an image, both, or an embedding; and its embedding as one vector."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fclip.errors import UserError
from fclip.runtime.images import ImageInput
from fclip.runtime.model import Model
from fclip.search.ranking import FloatArray

NEGATIVE_WEIGHT = 0.5  # of a negative text; at 1, results are often unrelated to both texts


@dataclass(frozen=True)
class Query:
    """One query. It has a text, an image or both, or a vector.

    Attributes:
        text: what to find. negative: what not to find; needs a text or an image.
        image: a path, the content of an image file, a Pillow image, or uint8 [height, width, 3].
        image_weight: share of the image if there is a text too, from 0 to 1.
        vector: float32 [d], the embedding of the query, if it is known; `text` is then only used for words.
        model_sha256: the model that computed it.
    """

    text: str | None = None
    image: "ImageInput | None" = None
    negative: str | None = None
    image_weight: float = 0.5
    vector: FloatArray | None = None
    model_sha256: str = ""

    def __post_init__(self) -> None:
        if self.vector is not None:
            if self.image is not None or self.negative is not None:
                raise UserError("a query has a vector, or an image and a negative text, but not both")
            return
        for name, text in (("text", self.text), ("negative text", self.negative)):
            if text is not None and (not isinstance(text, str) or not text.strip()):
                raise UserError(f"the {name} of the query is empty; enter a text")
        if self.text is None and self.image is None:
            raise UserError("a query needs a text or an image" + (" besides a negative text" if self.negative else ""))
        if not 0 <= self.image_weight <= 1:
            raise UserError(f"the weight of the image must be from 0 to 1, not {self.image_weight}")


def make_queries(
    text: str | Sequence[str] | None,
    image: "ImageInput | Sequence[ImageInput] | None",
    *,
    negative: str | None = None,
    image_weight: float = 0.5,
) -> list[Query]:
    """Return one query for each text, image, or pair of both; one text goes with several images, and the other way.

    Raises:
        UserError: as `Query`, or numbers of texts and images differ.
    """
    texts, pictures = _listed(text), _listed(image)
    if texts and pictures and len(texts) != len(pictures) and min(len(texts), len(pictures)) > 1:
        raise UserError(f"{len(texts)} texts and {len(pictures)} images cannot be paired; use as many of both")
    number = max(len(texts), len(pictures), 1)
    pairs = zip(_repeated(texts, number), _repeated(pictures, number), strict=True)
    return [Query(text=one, image=picture, negative=negative, image_weight=image_weight) for one, picture in pairs]


def is_many(value: object) -> bool:
    """Whether an argument is a list of texts or images."""
    return isinstance(value, list | tuple)


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if is_many(value) else [value]


def _repeated(values: list[Any], number: int) -> list[Any]:
    return values if len(values) == number else (values or [None]) * number


def embed_queries(queries: Sequence[Query], model: Model) -> FloatArray:
    """Return one vector of length 1 for each query, float32 [queries, d].

    Text and image are weighted sums of normalised embeddings; half of the negative text's embedding is subtracted.

    Raises:
        UserError: an image cannot be read, or a query has no direction, for example because its parts cancel out.
    """
    texts = dict.fromkeys(text for query in queries for text in (query.text, query.negative) if text is not None)
    embedded = dict(zip(texts, model.embed_texts(list(texts)), strict=True)) if texts else {}
    images = [query.image for query in queries if query.image is not None]
    image_vectors = iter(model.embed_images(images) if images else ())
    result = np.zeros((len(queries), model.dim), np.float32)
    for row, query in zip(result, queries, strict=True):
        row += combined(
            query,
            text=embedded[query.text] if query.text is not None else None,
            image=next(image_vectors) if query.image is not None else None,
            negative=embedded[query.negative] if query.negative is not None else None,
        )
    return unit_queries(result)


def combined(
    query: Query, *, text: FloatArray | None, image: FloatArray | None, negative: FloatArray | None
) -> FloatArray:
    """Return the weighted sum of the embeddings of a query's parts, float32 [d], not normalised."""
    image_share = np.float32(0 if image is None else query.image_weight if text is not None else 1)
    parts = ((1 - image_share, text), (image_share, image), (np.float32(-NEGATIVE_WEIGHT), negative))
    vectors = [weight * vector for weight, vector in parts if vector is not None]
    return np.asarray(np.sum(vectors, axis=0), np.float32)


def unit_queries(vectors: FloatArray) -> FloatArray:
    """Return vectors [queries, d] divided by their lengths; raises UserError for a length of zero or infinity."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    for number, length in enumerate(lengths[:, 0].tolist()):
        if not 1e-6 < length < np.inf:
            where = f"query {number}" if len(vectors) > 1 else "the query"
            raise UserError(f"{where} has no direction: its embedding has the length {length:.3g}; use another query")
    return (vectors / lengths).astype(np.float32)

"""Exact search in memory-mapped vectors. It is the reference for every other way to search."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fclip.errors import UserError
from fclip.search.manifest import PRODUCTS, REMEDY, VECTORS
from fclip.search.ranking import FloatArray, Ints, best

SPARSE_SHARE = 0.25  # below this share of allowed images, only their vectors are read
ROWS_AT_ONCE = 1024
MIN_TOGETHER, MAX_TOGETHER = 6, 32  # queries of one matrix product: fewer are faster one by one, more need much memory


@dataclass(frozen=True)
class Found:
    """Products in descending order of similarity: their numbers, cosine similarities, and most similar images."""

    products: Ints
    similarity: FloatArray
    images: Ints


@dataclass(frozen=True)
class Vectors:
    """The vectors of an index.

    Attributes:
        vectors: float32 [images, d], L2-normalised. products: int32 [images], not descending: the product of each.
        starts: int64 [products], the first image of each product.
    """

    vectors: FloatArray
    products: NDArray[np.int32]
    starts: Ints

    @property
    def num_products(self) -> int:
        return len(self.starts)

    def search(self, query: FloatArray, k: int, allowed: NDArray[np.bool_] | None = None) -> Found:
        """Return the k products whose most similar image is most similar to a query of length 1, float32 [d].

        Args:
            allowed: bool [products], which products may be found; None for all.
        """
        if allowed is not None:
            images = np.flatnonzero(allowed[self.products])
            if len(images) < SPARSE_SHARE * len(self.products):
                return self._search_few(query, k, images)
        return self._ranked(query, self.vectors @ query, k, allowed)

    def search_many(self, queries: FloatArray, k: int, allowed: NDArray[np.bool_] | None = None) -> list[Found]:
        """Return what `search` returns for each of many queries, float32 [n, d], in a fraction of the time.

        Their similarities are rounded differently, so products that are almost equally similar may change places.
        """
        is_sparse = allowed is not None and np.count_nonzero(allowed) < SPARSE_SHARE * len(allowed)
        if len(queries) < MIN_TOGETHER or is_sparse:
            return [self.search(query, k, allowed) for query in queries]
        result = []
        for start in range(0, len(queries), MAX_TOGETHER):
            part = queries[start : start + MAX_TOGETHER]
            similarity = np.ascontiguousarray((self.vectors @ part.T).T)
            result += [self._ranked(query, row, k, allowed) for query, row in zip(part, similarity, strict=True)]
        return result

    def _ranked(self, query: FloatArray, similarity: FloatArray, k: int, allowed: NDArray[np.bool_] | None) -> Found:
        """Rank all products by the similarity of each image, float32 [images]."""
        by_product = self._best_of_each(similarity, self.starts)
        if allowed is not None:
            by_product = np.where(allowed, by_product, np.float32(-np.inf))
        products = best(by_product, k)
        return Found(products, by_product[products], self._most_similar_images(products, query))

    def images_of(self, product: int) -> slice:
        """Return the rows of a product's images."""
        end = self.starts[product + 1] if product + 1 < len(self.starts) else len(self.vectors)
        return slice(int(self.starts[product]), int(end))

    def similarity_of(self, products: Ints, query: FloatArray) -> tuple[FloatArray, Ints]:
        """Return the similarity of each product to a query, and its most similar image."""
        images = self._most_similar_images(products, query)
        return (self.vectors[images] @ query if len(images) else np.empty(0, np.float32)), images

    def _search_few(self, query: FloatArray, k: int, images: Ints) -> Found:
        """Search some images, in ascending order. Few at a time are copied, so that the copy stays in the cache."""
        parts = [images[start : start + ROWS_AT_ONCE] for start in range(0, len(images), ROWS_AT_ONCE)]
        similarity = np.concatenate([np.empty(0, np.float32), *(self.vectors[part] @ query for part in parts)])
        product_of_image = self.products[images]
        starts = _starts(product_of_image)
        by_product = self._best_of_each(similarity, starts)
        ranked = best(by_product, k)
        products = product_of_image[starts[ranked]].astype(np.int64)
        return Found(products, by_product[ranked], self._most_similar_images(products, query))

    def _best_of_each(self, similarity: FloatArray, starts: Ints) -> FloatArray:
        return similarity if len(starts) == len(similarity) else np.maximum.reduceat(similarity, starts)

    def _most_similar_images(self, products: Ints, query: FloatArray) -> Ints:
        parts = map(self.images_of, products.tolist())
        return np.array([part.start + int(np.argmax(self.vectors[part] @ query)) for part in parts], np.int64)


def read_vectors(folder: Path) -> Vectors:
    """Map the vectors of an index folder into memory; raises UserError if they cannot be read."""
    try:
        vectors = np.load(folder / VECTORS, mmap_mode="r", allow_pickle=False)
        products = np.load(folder / PRODUCTS, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} has no readable vectors ({error}); {REMEDY}") from error
    return make_vectors(np.asarray(vectors), products)


def make_vectors(vectors: FloatArray, products: NDArray[np.int32]) -> Vectors:
    """Return vectors [images, d] with the product of each image, int32 [images], not descending from 0."""
    return Vectors(vectors, products, _starts(products))


def _starts(products: NDArray[np.int32]) -> Ints:
    """Return where each product begins in an ascending list of the products of images."""
    return np.flatnonzero(np.diff(products, prepend=np.int32(-1))).astype(np.int64)

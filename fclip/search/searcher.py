"""Search in one index folder by vector, and by vector and words; exact, or approximate where the index is large."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fclip.search.catalog import Catalog
from fclip.search.manifest import CATALOG, LANCEDB, IndexManifest
from fclip.search.ranking import FloatArray, fuse
from fclip.search.results import Hit
from fclip.search.vectors import Found, read_vectors

FUSED_DEPTH = 1000  # products of each ranking that are fused
Allowed = NDArray[np.bool_] | None
"""Which products may be found: bool [products]; None for all."""


class Searcher:
    """The products and vectors of an index folder.

    Raises:
        UserError: a file of the index is missing or damaged; raised by any method.
    """

    def __init__(self, folder: Path, manifest: IndexManifest, *, exact: bool = False) -> None:
        """Args: exact: whether to search exactly although the index is approximate."""
        self._folder = folder
        self._approximation = None if exact else manifest.approximation
        self.catalog = Catalog(folder / CATALOG)
        self.vectors = read_vectors(folder)

    def nearest(self, query: FloatArray, k: int, allowed: Allowed, *, is_filtered: bool) -> Found:
        """Return the k products nearest to a query of length 1, float32 [d].

        A search with a filter is always exact: nearest images that a filter leaves are spread over many cells, so that
        an approximate search would miss them, or take as long.

        Args:
            is_filtered: whether `allowed` leaves out more than the products that were taken down.
        """
        vectors = self.vectors
        if self._approximation is None or is_filtered:
            return vectors.search(query, k, allowed)
        wanted = 2 * k  # a product has several images, and the table does not know of products that were taken down
        images = self._table.nearest_images(query, wanted, num_probes=self._approximation.num_probes)
        products = np.array(list(dict.fromkeys(vectors.products[images].tolist())), np.int64)
        if allowed is not None:
            products = products[allowed[products]]
        if len(products) < k:  # the cells that were probed have too few
            return vectors.search(query, k, allowed)
        similarity, best_images = vectors.similarity_of(products, query)
        order = np.argsort(-similarity, kind="stable")[:k]
        return Found(products[order], similarity[order], best_images[order])

    def nearest_of_many(self, queries: FloatArray, k: int, allowed: Allowed, *, is_filtered: bool) -> list[Found]:
        """Return what `nearest` returns for each query, float32 [n, d]."""
        if self._approximation is None or is_filtered:
            return self.vectors.search_many(queries, k, allowed)
        return [self.nearest(query, k, allowed, is_filtered=is_filtered) for query in queries]

    def hybrid(
        self, text: str, query: FloatArray, k: int, allowed: Allowed, *, is_filtered: bool
    ) -> tuple[Found, FloatArray]:
        """Return the k best products by the fusion of the nearest ones and those that contain words of `text`.

        Returns:
            The products with their similarities, and their fused scores, float32 [k], by which they are ordered.
        """
        depth = max(k, FUSED_DEPTH)
        by_words = self.catalog.word_ranking(text)
        if allowed is not None:
            by_words = by_words[allowed[by_words]]
        nearest = self.nearest(query, depth, allowed, is_filtered=is_filtered)
        products, scores = fuse([nearest.products, by_words[:depth]])
        products = products[:k]
        return Found(products, *self.vectors.similarity_of(products, query)), scores[:k]

    def hits(self, found: Found, scores: FloatArray) -> list[Hit]:
        """Return what was found with titles, attributes and digests of images."""
        products = self.catalog.products(found.products.tolist())
        digests = self.catalog.image_sha256(found.images.tolist())
        return [
            Hit(
                dataset=products[number].dataset,
                product_id=products[number].product_id,
                score=float(score),
                similarity=float(similarity),
                title=products[number].title,
                attributes=products[number].attributes,
                image_sha256=digests[image],
            )
            for number, score, similarity, image in zip(
                found.products.tolist(), scores, found.similarity, found.images.tolist(), strict=True
            )
        ]

    @cached_property
    def _table(self) -> Any:
        from fclip.search.lance import LanceTable  # lancedb takes seconds to import

        return LanceTable(self._folder / LANCEDB)

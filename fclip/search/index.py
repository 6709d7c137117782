"""The published index of a catalog: search by text, image, both, or product, with filters, exactly or approximately."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fclip.errors import UserError
from fclip.runtime.images import ImageInput
from fclip.runtime.model import Model
from fclip.search.catalog import Catalog, Filters
from fclip.search.facets import Facets
from fclip.search.manifest import REMEDY, IndexManifest, read_manifest, verify_files
from fclip.search.published import Publication, Published, Role
from fclip.search.query import Query, embed_queries, is_many, make_queries, unit_queries
from fclip.search.ranking import FloatArray
from fclip.search.results import Hit, to_frame, write_images
from fclip.search.searcher import Searcher

if TYPE_CHECKING:
    import pandas as pd

MAX_RESULTS = 10_000


class Index:
    """An index that is published. It never changes; `Index.open` opens the current one.

    Products that are taken down after it was opened are in no result either. Methods may be called from several
    threads.
    """

    def __init__(
        self,
        published: Published,
        role: Role,
        publication: Publication,
        *,
        model: Model | None = None,
        exact: bool = False,
    ) -> None:
        """Open an index. `Index.open` is simpler.

        Args:
            model: the model that embeds queries; None for the published one, which is loaded for the first query.
            exact: as in `open`.

        Raises:
            UserError: the index is missing or damaged, or `model` is not the model that embedded the products.
        """
        folder = published.index_folder(publication)
        self._published = published
        self.role, self.publication = role, publication
        self.manifest: IndexManifest = read_manifest(folder)
        verify_files(folder, self.manifest)
        self._searcher = Searcher(folder, self.manifest, exact=exact)
        if model is not None:
            self._require_model(model.manifest.model_sha256)
            self.__dict__["model"] = model
        self._excluded: tuple[object, NDArray[np.bool_] | None] = (None, None)

    @classmethod
    def open(cls, path: str | Path = ".", *, challenger: bool = False, exact: bool = False) -> "Index":
        """Open the index that is published in a workspace, or in a copy of its folder `published`.

        Args:
            challenger: open the index of the challenger instead of the champion's.
            exact: search exactly although the index is approximate. For a single query this is faster, since LanceDB
                takes seconds to import.

        Raises:
            UserError: nothing is published, or the index is damaged.
        """
        published = Published.find(Path(path))
        role: Role = "challenger" if challenger else "champion"
        return cls(published, role, published.pointer(role).current, exact=exact)

    @cached_property
    def model(self) -> Model:
        """The model that embeds queries, in the light runtime."""
        from fclip.runtime.loading import load  # onnxruntime takes a moment to import

        folder = self._published.model_folder(self.manifest.sources.model_sha256)
        if not folder.is_dir():
            raise UserError(f"{folder}, the model of the index, does not exist; {REMEDY}")
        model = load(folder)
        self._require_model(model.manifest.model_sha256)
        return model

    def search(
        self,
        text: str | Sequence[str] | None = None,
        image: "ImageInput | Sequence[ImageInput] | None" = None,
        *,
        negative: str | None = None,
        image_weight: float = 0.5,
        filters: Filters | None = None,
        k: int = 10,
        hybrid: bool = False,
        images: bool = False,
    ) -> "pd.DataFrame":
        """Return the products that match a text, an image or both, the best first.

        Args:
            text: what to find. image: a path, bytes, a Pillow image or an array. A list of either asks many queries at
                once; lists of both are paired.
            negative: what not to find.
            image_weight: share of the image if there is a text too, from 0 to 1.
            filters: attribute -> value, or several values of which a product has one. All attributes must match.
            hybrid: whether products that contain words of the text are ranked too, and both rankings are fused.
            images: whether to add `image_path`, for which images are written to `cache/search-images`.

        Returns:
            Columns product_id, dataset, score, similarity, title, image_sha256, and one for each attribute; with many
            queries, `query` is the number of the query.

        Raises:
            UserError: the query is empty, an image cannot be read, a filter names an unknown attribute or value, or
                `k` is not from 1 to 10,000.
        """
        queries = make_queries(text, image, negative=negative, image_weight=image_weight)
        found = self.find(queries, filters=filters, k=k, hybrid=hybrid)
        return self._frame(found, images=images, many=is_many(text) or is_many(image))

    def similar(
        self,
        product_id: str,
        *,
        dataset: str | None = None,
        filters: Filters | None = None,
        k: int = 10,
        images: bool = False,
    ) -> "pd.DataFrame":
        """Return the products most similar to a product by their images, without itself. As `search` otherwise.

        Raises:
            UserError: no product has this id, or several datasets have one and `dataset` is None.
        """
        return self._frame([self.find_similar(product_id, dataset=dataset, filters=filters, k=k)], images=images)

    def find(
        self, queries: Sequence[Query], *, filters: Filters | None = None, k: int = 10, hybrid: bool = False
    ) -> list[list[Hit]]:
        """Return the results of each query. Arguments and errors as in `search`.

        Raises:
            UserError: a vector has another length, or was computed by another model.
        """
        self._require_k(k)
        if hybrid and any(query.text is None for query in queries):
            raise UserError("a hybrid search needs a text, since it searches for words")
        resolved = self.catalog.resolve(filters or {})
        allowed = self._allowed(resolved)
        vectors = self._embed(queries)
        is_filtered = bool(resolved)
        if not hybrid:
            nearest = self._searcher.nearest_of_many(vectors, k, allowed, is_filtered=is_filtered)
            return [self._searcher.hits(found, found.similarity) for found in nearest]
        return [
            self._searcher.hits(*self._searcher.hybrid(str(query.text), vector, k, allowed, is_filtered=is_filtered))
            for query, vector in zip(queries, vectors, strict=True)
        ]

    def find_similar(
        self, product_id: str, *, dataset: str | None = None, filters: Filters | None = None, k: int = 10
    ) -> list[Hit]:
        """Return the products most similar to a product. Arguments and errors as in `similar`."""
        self._require_k(k)
        numbers = self.catalog.numbers_of(product_id, dataset)
        products = self.catalog.products(numbers)
        if not numbers:
            where = f" in the dataset {dataset!r}" if dataset else ""
            raise UserError(f"no product {product_id!r}{where} is published; `fclip search` shows product ids")
        if len(numbers) > 1:
            datasets = ", ".join(product.dataset for product in products.values())
            raise UserError(f"several datasets have a product {product_id!r}: {datasets}; name one with `--dataset`")
        (number,) = numbers
        resolved = self.catalog.resolve(filters or {})
        allowed = self._allowed(resolved)
        allowed = np.ones(self.manifest.num_products, bool) if allowed is None else allowed.copy()
        allowed[number] = False
        (query,) = unit_queries(
            self._searcher.vectors.vectors[self._searcher.vectors.images_of(number)].mean(axis=0, keepdims=True)
        )
        found = self._searcher.nearest(query, k, allowed, is_filtered=bool(resolved))
        return self._searcher.hits(found, found.similarity)

    def facets(self, filters: Filters | None = None) -> dict[str, dict[str, int]]:
        """Return, by attribute and value, the number of products that match the filters on the other attributes.

        Raises:
            UserError: a filter names an unknown attribute or value.
        """
        return self._facets.count(self.catalog.resolve(filters or {}), self._included())

    def suggestions(self, typed: str, number: int = 8) -> list[str]:
        """Return completions of a text that is being typed, from the attribute values of the catalog."""
        return self._facets.suggestions(typed, number)

    def count(self, filters: Filters | None = None) -> int:
        """Return the number of products that match the filters. Errors as in `facets`."""
        allowed = self._allowed(self.catalog.resolve(filters or {}))
        return self.manifest.num_products if allowed is None else int(np.count_nonzero(allowed))

    @cached_property
    def _facets(self) -> Facets:
        return Facets(self.catalog, self.manifest.num_products)

    def _embed(self, queries: Sequence[Query]) -> FloatArray:
        given = {number: query for number, query in enumerate(queries) if query.vector is not None}
        result = np.empty((len(queries), self.manifest.dim), np.float32)
        for number, query in given.items():
            self._require_model(query.model_sha256)
            vector = np.asarray(query.vector, np.float32)
            if vector.shape != (self.manifest.dim,):
                raise UserError(f"a vector has the shape {list(vector.shape)}, not [{self.manifest.dim}]")
            result[number] = unit_queries(vector[None])[0]
        others = [number for number in range(len(queries)) if number not in given]
        if others:
            result[others] = embed_queries([queries[number] for number in others], self.model)
        return result

    def _allowed(self, filters: Mapping[str, Sequence[str]]) -> NDArray[np.bool_] | None:
        """Return which products may be found: bool [products]; None for all."""
        included = self._included()
        if not filters:
            return included
        matching = self.catalog.matching(filters, self.manifest.num_products)
        return matching if included is None else matching & included

    def _included(self) -> NDArray[np.bool_] | None:
        """Return which products are not taken down; None for all. The list is read again when its file changes."""
        try:
            status = self._published.exclusions_file.stat()
            state = (status.st_ino, status.st_size, status.st_mtime_ns)
        except FileNotFoundError:
            return None
        if self._excluded[0] != state:
            numbers = [
                number
                for each in self._published.exclusions()
                for number in self.catalog.numbers_of(each.product_id, each.dataset)
            ]
            included = np.ones(self.manifest.num_products, bool)
            included[numbers] = False
            self._excluded = (state, included if numbers else None)
        return self._excluded[1]

    def _frame(self, found: Sequence[Sequence[Hit]], *, images: bool, many: bool = False) -> "pd.DataFrame":
        paths: dict[str, Path] | None = None
        if images:
            folder = self.workspace / "cache" / "search-images"
            paths = write_images([hit for hits in found for hit in hits], self.images_folder, folder)
        return to_frame(found, list(self.catalog.attribute_counts()), paths=paths, is_many=many)

    @property
    def catalog(self) -> Catalog:
        """The products of the index, with their attributes."""
        return self._searcher.catalog

    @property
    def workspace(self) -> Path:
        """The workspace that published the index."""
        return self._published.root.parent

    def images_folder(self, dataset: str) -> Path:
        """Return the folder with the image packs of a dataset."""
        return self.workspace / "data" / "images" / dataset

    def _require_model(self, model_sha256: str) -> None:
        if model_sha256 != self.manifest.sources.model_sha256:
            raise UserError(
                f"the query is embedded by model {model_sha256[:12] or 'unknown'}, the index by "
                f"{self.manifest.sources.model_sha256[:12]}; use the model of the index"
            )

    def _require_k(self, k: int) -> None:
        if not 1 <= k <= MAX_RESULTS:
            raise UserError(f"the number of results must be from 1 to {MAX_RESULTS:,}, not {k:,}")

"""Build an index from the embeddings of a catalog, check it against exact search, and measure its recall."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fclip.errors import UserError
from fclip.files import atomic_dir
from fclip.search.catalog import Catalog, Product, filterable, write_catalog
from fclip.search.config import SearchConfig
from fclip.search.lance import LanceTable, column_names, lancedb_version, write_table
from fclip.search.manifest import (
    CATALOG,
    LANCEDB,
    PRODUCTS,
    VECTORS,
    Approximation,
    IndexManifest,
    Sources,
    file_records,
    write_manifest,
)
from fclip.search.ranking import FloatArray, best
from fclip.search.vectors import Vectors, make_vectors, read_vectors

logger = logging.getLogger(__name__)
NUM_SAMPLES = 32  # queries of the check
NUM_TABLE_SAMPLES = 8  # of LanceDB, whose exact search of a million images takes seconds
NUM_RECALL_QUERIES = 100
RECALL_AT = 10
QUERIES_AT_ONCE = 16  # 64 MB of similarities for a million images
PROBES = (10, 20, 40, 80, 160, 320)  # tried in this order until the recall is sufficient
TOLERANCE = 1e-5  # of cosine similarities in float32


@dataclass(frozen=True)
class CatalogEmbeddings:
    """Products with the embeddings of their images.

    Attributes:
        products: in the order of their numbers.
        product_of_image: int32 [images], the product number of each image, not descending; each product has an image.
        image_sha256: digest of each image.
        vectors: float32 [images, d], L2-normalised.
        text_vectors: float32 [n, d], L2-normalised: embeddings of texts, with which recall is measured besides images.
        num_taken_down: products that were left out because they were taken down.
    """

    products: Sequence[Product]
    product_of_image: NDArray[np.int32]
    image_sha256: Sequence[str]
    vectors: FloatArray
    text_vectors: FloatArray
    num_taken_down: int = 0


def build_index(folder: Path, embeddings: CatalogEmbeddings, sources: Sources, config: SearchConfig) -> IndexManifest:
    """Write the index of `embeddings` to the new folder `folder`, which appears only if every check passed.

    With LanceDB, the products are also written as a table. Above `config.exact_below` images, the table gets an
    approximate index; it is used if its recall is at least `config.min_recall`.

    Raises:
        UserError: there are no products, or what was written does not give the ranks of exact search.
    """
    began = time.perf_counter()
    if not len(embeddings.vectors):
        raise UserError("the catalog has no product to publish; the index that is published stays")
    names = {name for product in embeddings.products for name in filterable(product)}
    columns = column_names(names)
    with atomic_dir(folder) as temporary:
        np.save(temporary / VECTORS, np.ascontiguousarray(embeddings.vectors, np.float32))
        np.save(temporary / PRODUCTS, embeddings.product_of_image)
        write_catalog(temporary / CATALOG, embeddings.products, embeddings.image_sha256)
        written = _check(temporary, embeddings)
        table = None
        if lancedb_version():
            table = write_table(
                temporary / LANCEDB,
                written.vectors,
                embeddings.product_of_image,
                embeddings.products,
                embeddings.image_sha256,
                columns,
            )
            _check_table(table, written)
        approximation, reason = _approximate(table, written, embeddings.text_vectors, config)
        files = file_records(temporary)
        manifest = IndexManifest(
            sources=sources,
            num_products=len(embeddings.products),
            num_images=len(embeddings.vectors),
            num_taken_down=embeddings.num_taken_down,
            dim=int(embeddings.vectors.shape[1]),
            approximation=approximation,
            reason=reason,
            columns=columns,
            lancedb=lancedb_version(),
            files=files,
            num_bytes=sum(size for size, _ in files.values()),
            build_seconds=round(time.perf_counter() - began, 2),
        )
        write_manifest(manifest, temporary)
    return manifest


def _check(folder: Path, embeddings: CatalogEmbeddings) -> Vectors:
    """Read the files back, and compare the ranks of samples with exact search in the source."""
    written = read_vectors(folder)
    source = make_vectors(embeddings.vectors, embeddings.product_of_image)
    for query in _samples(embeddings.vectors, NUM_SAMPLES):
        found, expected = written.search(query, RECALL_AT), source.search(query, RECALL_AT)
        if not np.array_equal(found.products, expected.products):
            raise UserError(f"{folder.name}: the vectors that were written are not those of the embeddings; try again")
    catalog = Catalog(folder / CATALOG)
    for number, product in catalog.products(
        range(0, len(embeddings.products), 1 + len(embeddings.products) // 100)
    ).items():
        expected_product = embeddings.products[number]
        if (product.dataset, product.product_id) != (expected_product.dataset, expected_product.product_id):
            raise UserError(f"{folder.name}: the catalog that was written is not the one that was read; try again")
    return written


def _check_table(table: LanceTable, written: Vectors) -> None:
    """Compare the similarities of LanceDB's exact ranks with those of exact search. Near ties may change places."""
    for query in _samples(written.vectors, NUM_TABLE_SAMPLES):
        similarity = written.vectors @ query
        exact = similarity[best(similarity, RECALL_AT)]
        found = written.vectors[table.nearest_images(query, RECALL_AT, num_probes=None)] @ query
        if len(found) != len(exact) or not np.allclose(found, exact, atol=TOLERANCE):
            raise UserError(
                f"LanceDB {lancedb_version()} does not give the ranks of exact search; the index that is published "
                "stays. Without the package lancedb, `fclip publish` builds an exact index"
            )


def _approximate(
    table: LanceTable | None, written: Vectors, text_vectors: FloatArray, config: SearchConfig
) -> tuple[Approximation | None, str]:
    """Create the approximate index if the catalog is large, and return it with its recall, if it is sufficient."""
    num_images = len(written.vectors)
    if num_images <= config.exact_below:
        return None, f"exact: {num_images:,} images are at most search.exact_below ({config.exact_below:,})"
    if table is None:
        logger.warning("The index stays exact: an approximate one needs the package lancedb")
        return None, "exact: an approximate index needs the package lancedb (the extra `search`)"
    table.create_index()
    half = NUM_RECALL_QUERIES // 2
    queries = np.concatenate([_samples(written.vectors, half), _samples(text_vectors, half)])
    exact = _nearest(written, queries)
    recall = 0.0
    for num_probes in PROBES:
        recall = max(recall, measure_recall(table, queries, exact, num_probes))
        if recall >= config.min_recall:
            return Approximation(num_probes, recall), f"approximate: recall@{RECALL_AT} {recall:.3f}"
    logger.warning(
        "The index stays exact: recall@%d of the approximate one is %.3f, below search.min_recall (%s)",
        RECALL_AT,
        recall,
        config.min_recall,
    )
    return None, f"exact: recall@{RECALL_AT} of the approximate index was {recall:.3f}, below search.min_recall"


def measure_recall(table: LanceTable, queries: FloatArray, exact: Sequence[set[int]], num_probes: int) -> float:
    """Return the share of the nearest images that an approximate search finds.

    Args:
        queries: float32 [n, d]. Texts must be among them: they lie farther from the images than images do, and are
            harder to search.
        exact: the nearest images of each query.
    """
    shares = [
        len(nearest.intersection(table.nearest_images(query, RECALL_AT, num_probes=num_probes).tolist())) / len(nearest)
        for query, nearest in zip(queries, exact, strict=True)
    ]
    return float(np.mean(shares))


def _nearest(written: Vectors, queries: FloatArray) -> list[set[int]]:
    """Return the 10 nearest images of each query."""
    nearest: list[set[int]] = []
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        similarity = written.vectors @ queries[start : start + QUERIES_AT_ONCE].T
        nearest += [set(best(column, RECALL_AT).tolist()) for column in similarity.T]
    return nearest


def _samples(vectors: FloatArray, number: int) -> FloatArray:
    """Return at most `number` vectors at equal distances."""
    if not len(vectors):
        return np.array(vectors)
    rows = np.unique(np.linspace(0, len(vectors) - 1, number).astype(np.int64))
    return np.array(vectors[rows])

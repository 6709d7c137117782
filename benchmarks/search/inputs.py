"""What all tools index and search: kagl as this project publishes it, and random vectors in clusters.

A folder of inputs has

    inputs.json       the conditions of the filters, and where our index is
    rows.parquet      for each image its number and the attributes that filters name
    queries.npy       float32 [queries, d], of length 1
    tuning.npy        float32 [n, d], other queries, with which the peers choose their number of probes
    masks.npy         uint8 [filters, images / 8], one bit for each image that a filter leaves, the lowest bit first
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fclip.files import read_json, sha256_json, write_json
from fclip.search.build import CatalogEmbeddings, build_index
from fclip.search.catalog import Catalog, Product
from fclip.search.config import SearchConfig
from fclip.search.manifest import CATALOG, PRODUCTS, VECTORS, Sources
from fclip.search.ranking import FloatArray

SHARES = ("1/2", "1/10", "1/100", "1/1000")
"""Shares of the products that a filter leaves."""
ATTRIBUTE, OTHER = "share", "other"  # of drawn products, and the value of those that no filter leaves
NUM_CLUSTERS, LATENT_DIM, NOISE, SEED = 1000, 32, 0.7, 0
REST = 0.1  # length of the noise in all dimensions
ROWS_AT_ONCE = 50_000
NUM_TUNING = 100
K = 10
INPUTS, ROWS, QUERIES, TUNING, MASKS = "inputs.json", "rows.parquet", "queries.npy", "tuning.npy", "masks.npy"


@dataclass(frozen=True)
class Inputs:
    """The inputs in a folder. `filters`: share -> attribute and value; `shares`: the share of images that is left."""

    folder: Path
    index: Path
    filters: Mapping[str, tuple[str, str]]
    shares: Mapping[str, float]

    @property
    def vectors(self) -> Path:
        """The file of the vectors, which all tools read: float32 [images, d], of length 1."""
        return self.index / VECTORS

    def load(self, name: str) -> Any:
        """Return one of the arrays."""
        return np.load(self.folder / name)


def read_inputs(folder: Path) -> Inputs:
    """Read the inputs in a folder."""
    values = read_json(folder / INPUTS)
    filters = {share: (attribute, value) for share, attribute, value, _ in values["filters"]}
    shares = {share: left for share, *_, left in values["filters"]}
    return Inputs(folder, (folder / values["index"]).resolve(), filters, shares)


def write_inputs(
    folder: Path,
    index: Path,
    filters: Mapping[str, tuple[str, str]],
    queries: FloatArray,
    tuning: FloatArray,
) -> Inputs:
    """Write the inputs of an index of ours. Which images a filter leaves comes from the attributes themselves."""
    folder.mkdir(parents=True, exist_ok=True)
    product_of_image = np.load(index / PRODUCTS)
    products = Catalog(index / CATALOG).products(range(int(product_of_image[-1]) + 1))
    names = sorted({attribute for attribute, _ in filters.values()})
    columns = {name: [products[number].attributes.get(name) for number in product_of_image.tolist()] for name in names}
    rows = pa.table({"image": np.arange(len(product_of_image)), **{name: pa.array(columns[name]) for name in names}})
    pq.write_table(rows, folder / ROWS)
    masks = np.array([np.array(columns[name], object) == value for name, value in filters.values()], bool)
    np.save(folder / MASKS, np.packbits(masks, axis=1, bitorder="little"))
    np.save(folder / QUERIES, queries)
    np.save(folder / TUNING, tuning)
    listed = [(share, *pair, left) for (share, pair), left in zip(filters.items(), masks.mean(axis=1), strict=True)]
    write_json(folder / INPUTS, {"index": os.path.relpath(index.resolve(), folder.resolve()), "filters": listed})
    return read_inputs(folder)


class Clusters:
    """Vectors in clusters that overlap, as those of embeddings do; otherwise one probe would suffice.

    A vector is one of `NUM_CLUSTERS` normally distributed centres of `LATENT_DIM` dimensions plus `NOISE` times a
    normally distributed vector, turned into `dim` dimensions, plus a little noise in all of them, divided by its
    length. The seed is fixed.
    """

    def __init__(self, dim: int) -> None:
        self.random = np.random.default_rng(SEED)
        self._dim = dim
        self._centres = self.random.standard_normal((NUM_CLUSTERS, min(LATENT_DIM, dim)), np.float32)
        directions = self.random.standard_normal((dim, self._centres.shape[1]))
        self._turn = np.linalg.qr(directions)[0].T.astype(np.float32)

    def draw(self, number: int) -> FloatArray:
        """Return `number` vectors, float32 [number, dim]."""
        result = np.empty((number, self._dim), np.float32)
        rest = np.float32(REST * math.sqrt(self._centres.shape[1] / self._dim))
        for start in range(0, number, ROWS_AT_ONCE):
            part = result[start : start + ROWS_AT_ONCE]
            latent = self.random.standard_normal((len(part), self._centres.shape[1]), np.float32) * np.float32(NOISE)
            latent += self._centres[self.random.integers(len(self._centres), size=len(part))]
            self.random.standard_normal(out=part, dtype=np.float32)
            part *= rest
            part += latent @ self._turn
            part /= np.linalg.norm(part, axis=1, keepdims=True)
        return result


def draw_products(num_images: int, *, dim: int = 512, num_queries: int) -> tuple[CatalogEmbeddings, FloatArray]:
    """Return products with one image each, whose vectors are drawn, and queries that are drawn in the same way."""
    clusters = Clusters(dim)
    queries, tuning, vectors = (clusters.draw(number) for number in (num_queries, NUM_TUNING, num_images))
    shares = [float(Fraction(share)) for share in SHARES]
    values = clusters.random.choice([*SHARES, OTHER], num_images, p=[*shares, 1 - sum(shares)]).tolist()
    embeddings = CatalogEmbeddings(
        products=[
            Product("random", str(number), f"product {number}", {ATTRIBUTE: value})
            for number, value in enumerate(values)
        ],
        product_of_image=np.arange(num_images, dtype=np.int32),
        image_sha256=[f"{number:064x}" for number in range(num_images)],
        vectors=vectors,
        text_vectors=tuning,
    )
    return embeddings, queries


def index_drawn(folder: Path, embeddings: CatalogEmbeddings) -> None:
    """Build our index of drawn products in `folder`; also a small one is approximate."""
    digest = sha256_json([embeddings.vectors.shape, SEED])
    # A large index has the defaults, with which a filtered search is exact if the filter leaves few images.
    default = SearchConfig()
    config = default if len(embeddings.vectors) > default.exact_below else SearchConfig(exact_below=0)
    build_index(folder, embeddings, Sources(digest, digest, digest, digest, digest), config)


def filters_by_share(catalog: Catalog, num_products: int) -> dict[str, tuple[str, str]]:
    """Return for each of `SHARES` the attribute and value whose share of the products is nearest to it."""
    shares = {
        (name, value): number / num_products
        for name, counts in catalog.attribute_counts().items()
        for value, number in counts.items()
    }

    def distance(share: str, pair: tuple[str, str]) -> float:
        return abs(math.log(shares[pair] / Fraction(share)))

    return {share: min(shares, key=lambda pair: distance(share, pair)) for share in SHARES}


def nearest_similarity(inputs: Inputs, queries: FloatArray, masks: Sequence[np.ndarray | None]) -> np.ndarray:
    """Return the similarity of the k-th nearest image that each mask leaves: float32 [masks, queries].

    All images are compared. With fewer than k images, it is that of the last one.
    """
    vectors = np.load(inputs.vectors, mmap_mode="r")
    similarity = np.concatenate(
        [vectors[start : start + ROWS_AT_ONCE] @ queries.T for start in range(0, len(vectors), ROWS_AT_ONCE)]
    )
    result = np.empty((len(masks), len(queries)), np.float32)
    for row, mask in zip(result, masks, strict=True):
        left = similarity if mask is None else similarity[mask]
        k = min(K, len(left))
        row[:] = np.partition(left, len(left) - k, axis=0)[len(left) - k]
    return result

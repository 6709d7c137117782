"""Small indexes of random vectors: products with several images, and attributes with unusual names and values."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fclip.search.build import CatalogEmbeddings, build_index
from fclip.search.catalog import Product
from fclip.search.config import SearchConfig
from fclip.search.index import Index
from fclip.search.manifest import IndexManifest, Sources
from fclip.search.published import Publication, Published, Role

MODEL = "a" * 64
COLOURS = ("red", "Green", "blue", "grey")
SIZES = ("S'; DROP TABLE products; --", "../../etc/passwd", "100%_*", 'quoted "x"', "über  Größe")
NOUNS = ("dress", "skirt", "shoe", "bag", "hat")


def embeddings(num_products: int, *, dim: int = 16, seed: int = 0) -> CatalogEmbeddings:
    """Random products of two datasets. Every third product has two images."""
    random = np.random.default_rng(seed)
    products = []
    for number in range(num_products):
        attributes = {"colour": COLOURS[number % 4], "a size": SIZES[number % 5]}
        if number % 2:
            attributes["vector"] = "a name that a column of the table has"
        products.append(
            Product(
                "shop" if number % 7 else "street",
                f"p{number:05d}" if number else "../p",
                f"{COLOURS[number % 4]} {NOUNS[number % 5]} number{number}",
                attributes,
                words=f"material{number % 11}",
            )
        )
    product_of_image = np.repeat(
        np.arange(num_products, dtype=np.int32), [2 - min(n % 3, 1) for n in range(num_products)]
    )
    centres = random.normal(size=(8, dim))
    vectors = centres[product_of_image % 8] + 0.7 * random.normal(size=(len(product_of_image), dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    digests = [f"{image:064x}" for image in range(len(vectors))]
    texts = random.normal(size=(100, dim))
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    return CatalogEmbeddings(products, product_of_image, digests, vectors.astype("f4"), texts.astype("f4"))


def sources(model: str = MODEL, catalog: str = "c" * 64) -> Sources:
    return Sources(model, "p" * 64, "t" * 64, catalog, "s" * 64)


def publish(
    root: Path,
    content: CatalogEmbeddings,
    config: SearchConfig | None = None,
    *,
    role: Role = "champion",
    of: Sources | None = None,
) -> tuple[Published, IndexManifest]:
    """Build an index in the workspace `root` and point to it."""
    published, of = Published(root / "published"), of or sources()
    manifest = build_index(published.indexes / of.index_name, content, of, config or SearchConfig())
    published.switch(role, Publication(of.index_name, of.model_sha256, 1, f"2026-01-01T00:00:{time.time_ns()}"))
    return published, manifest


@pytest.fixture(scope="session")
def catalog() -> CatalogEmbeddings:
    return embeddings(300)


@pytest.fixture(scope="session")
def exact_root(tmp_path_factory: pytest.TempPathFactory, catalog: CatalogEmbeddings) -> Path:
    """A workspace with an exact index. Tests do not change it."""
    root = tmp_path_factory.mktemp("exact")
    publish(root, catalog)
    return root


@pytest.fixture
def index(exact_root: Path) -> Index:
    return Index.open(exact_root)


@pytest.fixture
def publish_here(tmp_path: Path) -> Callable[..., tuple[Published, IndexManifest]]:
    """publish_here(content, config) publishes in `tmp_path`."""

    def run(*arguments: object, **options: object) -> tuple[Published, IndexManifest]:
        return publish(tmp_path, *arguments, **options)  # type: ignore[arg-type]

    return run

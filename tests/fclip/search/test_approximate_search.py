"""Approximate search: recall, filters, exclusions, and the return to exact search where it is not good enough."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pytest

from fclip.search import build
from fclip.search.config import SearchConfig
from fclip.search.index import Index
from fclip.search.published import Exclusion, Published
from tests.fclip.search.conftest import embeddings, publish
from tests.fclip.search.test_exact_search import by_vector, naive

APPROXIMATE = SearchConfig(exact_below=0)


@pytest.fixture(scope="module")
def large() -> build.CatalogEmbeddings:
    return embeddings(3000)


@pytest.fixture(scope="module")
def approximate_root(tmp_path_factory: pytest.TempPathFactory, large: build.CatalogEmbeddings) -> Path:
    root = tmp_path_factory.mktemp("approximate")
    publish(root, large, APPROXIMATE)
    return root


def queries(number: int) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(number, 16)).astype(np.float32)


def test_recall_is_measured_and_stored(approximate_root: Path) -> None:
    manifest = Index.open(approximate_root).manifest
    assert manifest.approximation is not None
    assert 0.95 <= manifest.approximation.recall <= 1
    assert manifest.reason.startswith("approximate: recall@10 ")


@pytest.mark.parametrize("filters", [{}, {"colour": "red"}, {"colour": ["red", "Green"], "a size": "../../etc/passwd"}])
def test_results_have_this_recall_and_only_what_the_filter_allows(
    approximate_root: Path, large: build.CatalogEmbeddings, filters: dict[str, Any]
) -> None:
    index = Index.open(approximate_root)
    listed = {name: [value] if isinstance(value, str) else value for name, value in filters.items()}
    shares = []
    for query in queries(100):  # LanceDB draws its cells anew for each build; with 20 queries, 2 of 8 builds were below
        (hits,) = index.find([by_vector(query)], filters=filters, k=10)
        assert len({hit.product_id for hit in hits}) == 10
        assert all(hit.attributes[name] in values for hit in hits for name, values in listed.items())
        expected = naive(large, query, 10, listed)
        shares.append(len({hit.product_id for hit in hits} & {product for product, _ in expected}) / 10)
        similarity = dict(naive(large, query, 3000, listed))
        assert [hit.similarity for hit in hits] == pytest.approx([similarity[hit.product_id] for hit in hits], abs=1e-5)
    assert np.mean(shares) >= 0.9


def test_products_taken_down_after_the_build_are_not_found(tmp_path: Path, large: build.CatalogEmbeddings) -> None:
    published, _ = publish(tmp_path, large, APPROXIMATE)
    index = Index.open(tmp_path)
    (query,) = queries(1)
    before = [hit.product_id for hit in index.find([by_vector(query)], k=10)[0]]
    gone = [Exclusion(*key, "2026-01-01") for key in ids(large) if key[1] in before]
    published.write_exclusions(gone)
    after = [hit.product_id for hit in index.find([by_vector(query)], k=10)[0]]
    assert len(after) == 10
    assert not set(before) & set(after)


def ids(content: build.CatalogEmbeddings) -> list[tuple[str, str]]:
    return [(product.dataset, product.product_id) for product in content.products]


def test_insufficient_recall_keeps_the_index_exact(
    tmp_path: Path, large: build.CatalogEmbeddings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(build, "PROBES", (1,))
    _, manifest = publish(tmp_path, large, SearchConfig(exact_below=0, min_recall=1.0))
    assert manifest.approximation is None
    assert "below search.min_recall" in manifest.reason
    assert "The index stays exact" in caplog.text
    (query,) = queries(1)
    hits = Index.open(tmp_path).find([by_vector(query)], k=10)[0]
    assert [hit.product_id for hit in hits] == [product for product, _ in naive(large, query, 10)]


def test_without_lancedb_the_index_is_exact(
    tmp_path: Path, large: build.CatalogEmbeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "lancedb_version", lambda: "")
    published, manifest = publish(tmp_path, large, APPROXIMATE)
    assert "needs the package lancedb" in manifest.reason
    assert not (published.index_folder(published.pointer("champion").current) / "lancedb").exists()
    (query,) = queries(1)
    assert len(Index.open(tmp_path).find([by_vector(query)], k=10)[0]) == 10


def test_other_programs_read_the_table_with_lancedb(approximate_root: Path, large: build.CatalogEmbeddings) -> None:
    """As docs/guides/using-a-model.md shows it."""
    published = Published.find(approximate_root)
    index = Index.open(approximate_root)
    folder = published.index_folder(published.pointer("champion").current)
    table = lancedb.connect(str(folder / "lancedb")).open_table("catalog")
    assert table.count_rows() == len(large.vectors)
    rows = table.search(large.vectors[7], vector_column_name="vector").distance_type("cosine")
    (row,) = rows.select(["image", "product_id", "colour", "_distance"]).limit(1).to_list()
    product = large.products[large.product_of_image[7]]
    assert (row["image"], row["product_id"], row["colour"]) == (7, product.product_id, product.attributes["colour"])
    columns = index.manifest.columns
    assert columns["colour"] == "colour"
    assert columns["vector"].startswith("attribute_")
    assert columns["a size"].startswith("attribute_")
    assert set(columns.values()) <= set(table.schema.names)


def test_wrong_ranks_of_lancedb_stop_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, catalog: build.CatalogEmbeddings
) -> None:
    from fclip.errors import UserError
    from fclip.search.lance import LanceTable

    honest: Callable[..., Any] = LanceTable.nearest_images
    monkeypatch.setattr(LanceTable, "nearest_images", lambda *a, **o: honest(*a, **o)[::-1] // 2)
    with pytest.raises(UserError, match="does not give the ranks of exact search"):
        publish(tmp_path, catalog)
    assert not list((tmp_path / "published" / "indexes").iterdir())


@pytest.mark.parametrize("num_products", [1, 4, 20])
def test_tiny_catalog_can_have_an_approximate_index(tmp_path: Path, num_products: int) -> None:
    content = embeddings(num_products)
    publish(tmp_path, content, APPROXIMATE)
    (query,) = queries(1)
    hits = Index.open(tmp_path).find([by_vector(query)], k=num_products)[0]
    assert [hit.product_id for hit in hits] == [product for product, _ in naive(content, query, num_products)]

"""Embeddings on disk and exact search."""

from pathlib import Path

import numpy as np
import pytest

from fclip.embeddings.search import search
from fclip.embeddings.store import EmbeddedRows, Embeddings, read_embeddings, write_embeddings
from fclip.errors import UserError
from fclip.features.similarity import unit

MODEL = "a" * 64


@pytest.fixture
def stored(tmp_path: Path) -> Embeddings:
    random = np.random.default_rng(0)
    products = [f"p{number:03d}" for number in range(50)]
    with_second = [*products, "p007"]
    columns = {"dataset": ["shop"] * 51, "product_id": with_second, "image_sha256": [f"{n:064d}" for n in range(51)]}
    texts = {"dataset": ["shop"] * 50, "product_id": products, "kind": ["title"] * 50, "text": products}
    tmp_path.joinpath("set").mkdir()
    write_embeddings(
        tmp_path / "set",
        model_sha256=MODEL,
        images=EmbeddedRows(columns, unit(random.normal(size=(51, 16)).astype("f4"))),
        texts=EmbeddedRows(texts, unit(random.normal(size=(50, 16)).astype("f4"))),
        manifest={"num_products": 50},
    )
    return read_embeddings(tmp_path / "set")


def test_search_equals_brute_force_with_each_product_once(stored: Embeddings) -> None:
    query = np.random.default_rng(1).normal(size=16).astype("f4")
    hits = search(stored, query, k=50, model_sha256=MODEL)
    similarity = stored.images @ (query / np.linalg.norm(query))
    best = {
        product: max(s for s, p in zip(similarity, stored.product_ids, strict=True) if p == product)
        for product in stored.product_ids
    }
    expected = sorted(best, key=lambda product: -best[product])
    assert [hit.product_id for hit in hits] == expected
    assert hits[0].score == pytest.approx(best[expected[0]])
    assert stored.title("shop", "p003") == "p003"


def test_query_of_another_model_is_refused_with_both_digests(stored: Embeddings) -> None:
    with pytest.raises(UserError, match=r"b{12}.*a{12}"):
        search(stored, np.ones(16, "f4"), k=1, model_sha256="b" * 64)


@pytest.mark.parametrize("k", [1, 3, 49, 50, 200])
def test_k_hits_are_the_first_of_all_hits(stored: Embeddings, k: int) -> None:
    query = stored.images[7]  # the product with two images
    everything = search(stored, query, k=50, model_sha256=MODEL)
    assert everything[0].product_id == "p007"
    assert search(stored, query, k=k, model_sha256=MODEL) == everything[:k]


def test_product_with_many_images_is_one_hit_and_ties_keep_their_order() -> None:
    vectors = np.zeros((30, 2), np.float32)
    vectors[:20, 0] = 1
    vectors[20:, 1] = 1
    products = ["a"] * 20 + [f"b{number}" for number in range(10)]
    embeddings = Embeddings(MODEL, ["shop"] * 30, products, vectors, {})
    hits = search(embeddings, np.array([1, 0.5], np.float32), k=3, model_sha256=MODEL)
    assert [hit.product_id for hit in hits] == ["a", "b0", "b1"]


def test_zero_or_nonfinite_query_is_refused(stored: Embeddings) -> None:
    for query in (np.zeros(16, "f4"), np.full(16, np.nan, "f4")):
        with pytest.raises(UserError, match="cannot embed the query"):
            search(stored, query, k=1, model_sha256=MODEL)
    with pytest.raises(UserError, match="at least 1"):
        search(stored, np.ones(16, "f4"), k=0, model_sha256=MODEL)


def test_nonfinite_embeddings_are_not_written(tmp_path: Path) -> None:
    rows = EmbeddedRows({"product_id": ["a", "b"]}, np.array([[1, 0], [np.nan, 1]], "f4"))
    with pytest.raises(UserError, match="1 of 2 images embeddings"):
        write_embeddings(tmp_path, model_sha256=MODEL, images=rows, texts=rows, manifest={})
    assert not list(tmp_path.iterdir())

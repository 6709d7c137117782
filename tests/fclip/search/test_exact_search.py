"""Exact search against a loop over all products, with and without filters, and words, and several queries."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fclip.errors import UserError
from fclip.search.build import CatalogEmbeddings
from fclip.search.index import Index
from fclip.search.query import Query
from fclip.search.ranking import FUSION_CONSTANT, best, fuse
from tests.fclip.search.conftest import COLOURS, MODEL, SIZES


def naive(
    catalog: CatalogEmbeddings, query: np.ndarray, k: int, filters: Mapping[str, Sequence[str]] | None = None
) -> list[tuple[str, float]]:
    """Return (product id, similarity) of the k best products by a loop over the images."""
    query = query / np.linalg.norm(query)
    scores: dict[int, float] = {}
    for vector, product in zip(catalog.vectors, catalog.product_of_image.tolist(), strict=True):
        values = {"dataset": catalog.products[product].dataset, **catalog.products[product].attributes}
        if all(values.get(name) in wanted for name, wanted in (filters or {}).items()):
            scores[product] = max(scores.get(product, -2.0), float(vector @ query))
    ordered = sorted(scores, key=lambda product: (-scores[product], product))[:k]
    return [(catalog.products[product].product_id, scores[product]) for product in ordered]


def by_vector(vector: np.ndarray) -> Query:
    return Query(vector=vector.astype(np.float32), model_sha256=MODEL)


@given(
    seed=st.integers(0, 1000),
    k=st.integers(1, 400),
    filters=st.dictionaries(st.sampled_from(["colour", "a size", "dataset"]), st.integers(1, 3), max_size=3),
)
def test_results_equal_a_loop_over_all_products(
    exact_root: Path, catalog: CatalogEmbeddings, seed: int, k: int, filters: dict[str, int]
) -> None:
    values = {"colour": COLOURS, "a size": SIZES, "dataset": ("shop", "street")}
    chosen = {name: values[name][:number] for name, number in filters.items()}
    query = np.random.default_rng(seed).normal(size=16)
    (hits,) = Index.open(exact_root).find([by_vector(query)], filters=chosen, k=k)
    expected = naive(catalog, query.astype(np.float32), k, chosen)
    assert [hit.product_id for hit in hits] == [product for product, _ in expected]
    np.testing.assert_allclose([hit.similarity for hit in hits], [score for _, score in expected], atol=1e-6)


def test_hit_has_the_attributes_of_its_product_and_its_best_image(index: Index, catalog: CatalogEmbeddings) -> None:
    for image in (0, 1, 5, len(catalog.vectors) - 1):
        (hits,) = index.find([by_vector(catalog.vectors[image])], k=1)
        product = catalog.products[catalog.product_of_image[image]]
        (hit,) = hits
        assert (hit.dataset, hit.product_id, hit.title) == (product.dataset, product.product_id, product.title)
        assert hit.attributes == product.attributes
        assert hit.image_sha256 == catalog.image_sha256[image]
        assert hit.score == hit.similarity == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("filters", [{}, {"colour": ["red", "blue"]}, {"colour": "red", "a size": SIZES[0]}])
@pytest.mark.parametrize("number", [1, 5, 80])
def test_many_queries_give_the_results_of_each(index: Index, number: int, filters: dict) -> None:
    queries = [by_vector(vector) for vector in np.random.default_rng(3).normal(size=(number, 16))]
    for query, together in zip(queries, index.find(queries, filters=filters, k=7), strict=True):
        (alone,) = index.find([query], filters=filters, k=7)
        assert [replace(hit, score=0, similarity=0) for hit in together] == [
            replace(hit, score=0, similarity=0) for hit in alone
        ]
        np.testing.assert_allclose([hit.similarity for hit in together], [hit.similarity for hit in alone], atol=1e-6)


def test_filter_values_ignore_case_and_have_no_special_meaning(index: Index) -> None:
    for size in SIZES:
        frame = {hit.attributes["a size"] for hit in index.find([by_vector(np.ones(16))], filters={"a size": size})[0]}
        assert frame == {size}
    (hits,) = index.find([by_vector(np.ones(16))], filters={"colour": ["GREEN", "Red"]}, k=300)
    assert {hit.attributes["colour"] for hit in hits} == {"Green", "red"}
    assert len(hits) == 150


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"fabric": "silk"}, "no attribute 'fabric' to filter by; the catalog has a size, colour, dataset, vector"),
        ({"colour": "purple"}, "no product has colour = 'purple'; values are .*red"),
        ({"colour": "' OR 1=1 --"}, "no product has colour"),
        ({"colour' = 'red' OR '1": "1"}, "no attribute"),
        ({"colour": []}, "needs one text or several"),
        ({"colour": 3}, "needs one text or several"),
    ],
)
def test_unknown_filters_are_refused(index: Index, filters: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        index.find([by_vector(np.ones(16))], filters=filters)


@given(value=st.text(max_size=30))
def test_any_value_is_refused_or_finds_what_it_names(exact_root: Path, value: str) -> None:
    index = Index.open(exact_root)
    named = value.strip().casefold() in {colour.casefold() for colour in COLOURS}
    with nullcontext() if named else pytest.raises(UserError, match="no product has colour"):
        (hits,) = index.find([by_vector(np.ones(16))], filters={"colour": value}, k=3)
        assert {hit.attributes["colour"].casefold() for hit in hits} == {value.strip().casefold()}


@pytest.mark.parametrize("k", [0, -1, 10_001, 1_000_000])
def test_number_of_results_is_limited(index: Index, k: int) -> None:
    with pytest.raises(UserError, match=r"from 1 to 10,000"):
        index.find([by_vector(np.ones(16))], k=k)
    with pytest.raises(UserError, match=r"from 1 to 10,000"):
        index.find_similar("p00001", k=k)


def test_similar_products_exclude_the_product_itself(index: Index, catalog: CatalogEmbeddings) -> None:
    number = 3  # has two images
    rows = catalog.product_of_image == number
    centre = catalog.vectors[rows].mean(axis=0)
    expected = [product for product, _ in naive(catalog, centre, 12) if product != "p00003"][:11]
    assert [hit.product_id for hit in index.find_similar("p00003", k=len(expected))] == expected
    with pytest.raises(UserError, match="no product 'absent' is published"):
        index.find_similar("absent")
    with pytest.raises(UserError, match="no product 'p00003' in the dataset 'street'"):
        index.find_similar("p00003", dataset="street")


def test_query_of_another_model_or_length_is_refused(index: Index) -> None:
    with pytest.raises(UserError, match=r"model b{12}, the index by a{12}"):
        index.find([Query(vector=np.ones(16, np.float32), model_sha256="b" * 64)])
    with pytest.raises(UserError, match="embedded by model unknown"):
        index.find([Query(vector=np.ones(16, np.float32))])
    with pytest.raises(UserError, match=r"the shape \[15\], not \[16\]"):
        index.find([by_vector(np.ones(15))])
    for vector in (np.zeros(16), np.full(16, np.nan), np.full(16, np.inf)):
        with pytest.raises(UserError, match="no direction"):
            index.find([by_vector(vector)])


@given(st.lists(st.sampled_from([0.0, 0.5, 0.5, 1.0, -np.inf]), max_size=30), st.integers(0, 40))
def test_best_equals_a_stable_sort(values: list[float], k: int) -> None:
    scores = np.array(values, np.float32)
    expected = [number for number in np.argsort(-scores, kind="stable") if scores[number] > -np.inf][:k]
    assert best(scores, k).tolist() == expected


@given(st.lists(st.lists(st.integers(0, 20), unique=True), max_size=3))
def test_fusion_sums_reciprocal_ranks(rankings: list[list[int]]) -> None:
    items, scores = fuse([np.array(ranking, np.int64) for ranking in rankings])
    expected = {
        item: sum(1 / (FUSION_CONSTANT + 1 + ranking.index(item)) for ranking in rankings if item in ranking)
        for ranking in rankings
        for item in ranking
    }
    assert dict(zip(items.tolist(), scores, strict=True)) == pytest.approx(expected)
    assert sorted(scores.tolist(), reverse=True) == scores.tolist()


def test_words_find_products_by_every_text_and_by_stem(index: Index, catalog: CatalogEmbeddings) -> None:
    def found(text: str) -> set[int]:
        return set(index.catalog.word_ranking(text).tolist())

    dresses = {number for number, product in enumerate(catalog.products) if "dress" in product.title}
    assert found("Dresses") == dresses
    assert found("material7") == {number for number in range(300) if number % 11 == 7}
    assert found("number17 number23") == {17, 23}
    assert found("über") == found("uber") == {number for number in range(300) if number % 5 == 4}
    for nothing in ("", "  ", "-- ' \" *", "zzzz"):
        assert not found(nothing)

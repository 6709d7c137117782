"""Similarities and rankings compared with naive implementations."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fclip.features.similarity import rank, similarities


@given(
    seed=st.integers(0, 10**6), num_queries=st.integers(1, 7), num_documents=st.integers(1, 40), k=st.integers(1, 12)
)
@settings(max_examples=100, deadline=None)
def test_rankings_equal_a_full_sort(seed: int, num_queries: int, num_documents: int, k: int) -> None:
    draw = np.random.default_rng(seed)
    queries = draw.integers(-1, 2, size=(num_queries, 3)).astype("f4")  # with many ties
    items = draw.integers(-1, 2, size=(num_documents, 3)).astype("f4")
    items[draw.random(num_documents) < 0.1] = np.nan
    preference = draw.permutation(num_documents)
    excluded = draw.integers(-1, num_documents, size=num_queries)
    found = rank(queries, items, k, preference=preference, excluded=excluded)
    for row, query in enumerate(queries):
        usable = [i for i in range(num_documents) if np.isfinite(items[i]).all() and i != excluded[row]]
        expected = sorted(usable, key=lambda i: (-float(query @ items[i]), preference[i]))[:k]
        ranked = found.documents[row][found.documents[row] >= 0].tolist()
        assert ranked == expected


def test_a_query_that_is_not_finite_has_no_results() -> None:
    queries = np.array([[1, 0], [np.nan, 0]], "f4")
    assert rank(queries, np.eye(2, dtype="f4"), 2).documents.tolist() == [[0, 1], [-1, -1]]


@pytest.mark.parametrize("block", [1, 17, 8_000_000])
def test_similarities_are_dot_products_for_every_block_size(block: int) -> None:
    draw = np.random.default_rng(0)
    queries, documents = draw.normal(size=(9, 4)).astype("f4"), draw.normal(size=(5, 4)).astype("f4")
    queries[2], documents[3, 1] = np.nan, np.inf
    rows = np.array([4, 2, 4, 0, 8, 7])
    with patch("fclip.features.similarity.BLOCK_VALUES", block):
        found = list(similarities(queries, documents, rows=rows))
    assert [row for where, _ in found for row in range(len(rows))[where]] == [*range(len(rows))]
    joined = np.concatenate([similarity for _, similarity in found])
    usable = np.outer(rows != 2, np.arange(5) != 3)
    assert np.isneginf(joined[~usable]).all()
    with np.errstate(invalid="ignore"):
        assert joined[usable] == pytest.approx((queries[rows] @ documents.T)[usable], rel=1e-5)
    assert np.isnan(queries[2]).all()
    assert np.isinf(documents[3, 1])

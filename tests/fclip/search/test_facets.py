"""Counts of attribute values, and suggestions, against loops over all products."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fclip.errors import UserError
from fclip.search.build import CatalogEmbeddings
from fclip.search.catalog import filterable
from fclip.search.index import Index
from fclip.search.published import Exclusion
from tests.fclip.search.conftest import COLOURS, SIZES, embeddings, publish


@given(filters=st.dictionaries(st.sampled_from(["colour", "a size", "dataset"]), st.integers(1, 2), max_size=3))
def test_counts_leave_out_the_filter_on_the_attribute_itself(
    exact_root, catalog: CatalogEmbeddings, filters: dict[str, int]
) -> None:
    values = {"colour": COLOURS, "a size": SIZES, "dataset": ("shop", "street")}
    chosen = {name: values[name][:number] for name, number in filters.items()}
    index = Index.open(exact_root)
    counts = index.facets(chosen)
    cells = [filterable(product) for product in catalog.products]
    for name, found in counts.items():
        others = {key: wanted for key, wanted in chosen.items() if key != name}
        left = [cell for cell in cells if all(cell.get(key) in wanted for key, wanted in others.items())]
        expected = Counter(cell[name] for cell in left if name in cell)
        assert {value: number for value, number in found.items() if number} == dict(expected)
        assert list(found.values()) == sorted(found.values(), reverse=True)
    assert index.count(chosen) == sum(all(cell.get(key) in wanted for key, wanted in chosen.items()) for cell in cells)


def test_products_that_were_taken_down_are_not_counted(tmp_path, catalog: CatalogEmbeddings) -> None:
    published, _ = publish(tmp_path, embeddings(60))
    index = Index.open(tmp_path)
    before = index.facets()["colour"]["red"]
    gone = next(product for product in catalog.products if product.attributes["colour"] == "red")
    published.write_exclusions([Exclusion(gone.dataset, gone.product_id, "2026-01-01")])
    assert index.facets()["colour"]["red"] == before - 1
    assert index.count() == 59
    with pytest.raises(UserError, match="no attribute 'fabric'"):
        index.facets({"fabric": "silk"})


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("gre", ["green", "grey"]),
        ("dress Bl", ["dress blue"]),
        ("", []),
        ("red ", []),
        ("zzz", []),
        ("SHOP", []),  # names of datasets are no suggestions
    ],
)
def test_suggestions_complete_the_last_word(index: Index, typed: str, expected: list[str]) -> None:
    assert index.suggestions(typed)[: len(expected) or None] == expected

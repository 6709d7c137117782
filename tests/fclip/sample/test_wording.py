"""The texts of the sample shop: they name type and colour, vary, and have no unfilled placeholders."""

from __future__ import annotations

import random

import pytest

from fclip.sample.products import ARTICLE_TYPES, Product, make_product
from fclip.sample.wording import write_texts


@pytest.fixture(scope="module")
def shop() -> list[tuple[Product, dict[str, str]]]:
    products = [make_product("studio", index, seed=0) for index in range(500)]
    return [(product, write_texts(product, random.Random(product.product_id))) for product in products]


def test_type_and_colour_are_named(shop: list[tuple[Product, dict[str, str]]]) -> None:
    for product, texts in shop:
        assert set(texts) == {"title", "highlights", "description"}
        phrases = texts["highlights"].split(", ")
        assert product.attributes["article_type"] in phrases
        assert product.attributes["colour"] in phrases


def test_most_titles_name_the_type_and_all_name_it_or_a_synonym(shop: list[tuple[Product, dict[str, str]]]) -> None:
    by_name = 0
    for product, texts in shop:
        article, title = product.attributes["article_type"], texts["title"].lower()
        by_name += article in title
        assert any(word.lower() in title for word in (article, *ARTICLE_TYPES[article].synonyms)), texts
        assert product.shade in title or product.attributes["colour"] in title, texts
    assert 0.85 < by_name / len(shop) < 1.0


def test_texts_have_no_unfilled_placeholders(shop: list[tuple[Product, dict[str, str]]]) -> None:
    for _, texts in shop:
        for text in texts.values():
            assert text
            assert text == text.strip()
            assert not set("{}") & set(text)
            assert "  " not in text


def test_texts_vary(shop: list[tuple[Product, dict[str, str]]]) -> None:
    titles = [texts["title"] for _, texts in shop]
    assert len(set(titles)) > 0.9 * len(titles)
    assert any(product.attributes["brand"] not in texts["title"] for product, texts in shop)

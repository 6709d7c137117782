"""Captions of products: which kinds each has, and how long they are."""

import logging
from collections.abc import Sequence

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer

from fclip.captions.build import SCHEMA, build_captions
from fclip.captions.config import KINDS, CaptionTemplates
from fclip.captions.tokens import token_counter
from fclip.catalog.tables import PRODUCTS
from fclip.errors import UserError

TEMPLATES = CaptionTemplates(
    title="{title}", highlights="{highlights}, {description}", attributes="{colour} {kind}", short=None
)


def _words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def _products(*own: tuple[dict[str, str], dict[str, str]]) -> pa.Table:
    rows = [
        {
            "product_id": f"p{index}",
            "group_id": f"p{index}",
            "split": "train",
            "attributes": list(attributes.items()),
            "texts": list(texts.items()),
            "images": ["0" * 64],
        }
        for index, (attributes, texts) in enumerate(own)
    ]
    return pa.Table.from_pylist(rows, schema=PRODUCTS)


def test_a_caption_of_each_kind_that_a_product_can_fill() -> None:
    products = _products(
        ({"colour": "red", "kind": "coat"}, {"title": "Red coat", "description": "A coat in red."}),
        ({"kind": "hat"}, {}),
        ({"size": "XL"}, {}),
    )
    table = build_captions(products, TEMPLATES, count_tokens=_words, context_length=3)
    assert table.schema.equals(SCHEMA)
    first, second, third = table["captions"].to_pylist()
    assert [(each["kind"], each["text"], each["num_tokens"], each["truncated"]) for each in first] == [
        ("title", "Red coat", 2, False),
        ("highlights", "A coat in red.", 4, True),
        ("attributes", "red coat", 2, False),
    ]
    assert [each["text"] for each in second] == ["hat"]
    assert third == []


def test_products_without_captions_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    products = _products(({"kind": "hat"}, {}), ({}, {}))
    build_captions(products, TEMPLATES, count_tokens=_words, context_length=9)
    assert "1 products without any" in caplog.text
    assert "names `colour`, which no product has (they have kind)" in caplog.text


def test_templates_that_name_nothing_there_are_refused() -> None:
    with pytest.raises(UserError, match=r"no product has anything .*\(colour, .*products have size"):
        build_captions(_products(({"size": "XL"}, {})), TEMPLATES, count_tokens=_words, context_length=9)


def test_no_templates_are_no_captions() -> None:
    none = CaptionTemplates(title=None, highlights=None, attributes=None, short=None)
    table = build_captions(_products(({"kind": "hat"}, {})), none, count_tokens=_words, context_length=9)
    assert table["captions"].to_pylist() == [[]]


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["title", "description", "colour", "kind", "size"]), st.text(min_size=1)),
        min_size=1,
        max_size=5,
    )
)
def test_every_product_with_something_named_has_a_caption(own: list[dict[str, str]]) -> None:
    products = _products(({"kind": "hat"}, {}), *[({}, texts) for texts in own])
    table = build_captions(products, TEMPLATES, count_tokens=_words, context_length=9)
    named = {"title", "description", "colour", "kind"}
    for captions, texts in zip(table["captions"].to_pylist()[1:], own, strict=True):
        says = any(any(map(str.isalnum, text)) for name, text in texts.items() if name in named)
        kinds = [caption["kind"] for caption in captions]
        assert bool(captions) == says
        assert kinds == [kind for kind in KINDS if kind in kinds]


def test_unknown_or_broken_templates_name_their_kind() -> None:
    with pytest.raises(ValueError, match="short must name a text or an attribute"):
        CaptionTemplates(title=None, highlights=None, attributes=None, short="plain")


def test_tokens_are_counted_before_they_are_cut() -> None:
    tokenizer = SimpleTokenizer(context_length=8)
    texts = ["red coat", "a very long text about a red coat with buttons and pockets"]
    short, long = token_counter(tokenizer)(texts)
    assert short == int((tokenizer(texts)[0] != 0).sum())
    assert long > 8

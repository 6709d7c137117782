# ruff: noqa: RUF001
"""Captions of products: their kinds, lengths and counts."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer

from fclip.captions.build import build_captions
from fclip.captions.config import KINDS, CaptionConfig, CaptionSettings, CaptionTemplates
from fclip.captions.repeats import comparison_key
from fclip.captions.table import SCHEMA, read_summary, write_captions
from fclip.captions.token_counts import token_counter
from fclip.catalog.tables import PRODUCTS
from fclip.errors import UserError
from tests.fclip.captions import cleaning_rules

TEMPLATES = CaptionTemplates(
    title="{title}", highlights="{highlights}, {description}", attributes="{colour} {kind}", short=None
)


def _words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def _build(products: pa.Table, templates: CaptionTemplates = TEMPLATES, *, length: int = 9, **section: Any) -> pa.Table:
    settings = CaptionSettings(**{"cleaning": cleaning_rules.none(), **section})
    config = CaptionConfig(datasets={"shop": templates}, settings=settings)
    return build_captions(products, config, "shop", count_tokens=_words, context_length=length)


def _templates(**changes: Any) -> CaptionTemplates:
    return CaptionTemplates(**{"title": None, "highlights": None, "attributes": None, "short": None, **changes})


def _texts(table: pa.Table) -> list[list[tuple[str, str]]]:
    return [[(each["kind"], each["text"]) for each in own] for own in table["captions"].to_pylist()]


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


def test_product_has_a_caption_of_each_kind_that_it_can_fill() -> None:
    products = _products(
        ({"colour": "deep red", "kind": "coat"}, {"title": "Red coat", "description": "Coat in red."}),
        ({"kind": "hat"}, {}),
        ({"size": "XL"}, {}),
    )
    table = _build(products, length=3)
    assert table.schema.equals(SCHEMA)
    first, second, third = table["captions"].to_pylist()
    assert [(each["kind"], each["text"], each["num_tokens"], each["truncated"]) for each in first] == [
        ("title", "Red coat", 2, False),
        ("highlights", "Coat in red.", 3, False),
        ("attributes", "deep red coat", 3, False),
    ]
    assert [each["text"] for each in second] == ["hat"]
    assert third == []


def test_products_without_captions_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    products = _products(({"kind": "hat"}, {}), ({}, {}))
    _build(products)
    assert "2 products: attributes 1; products without captions: 1" in caplog.text
    assert "names `colour`, which no product has (products have kind)" in caplog.text


def test_templates_without_any_value_are_an_error() -> None:
    with pytest.raises(UserError, match=r"no product has a value .*\(colour, .*products have size"):
        _build(_products(({"size": "XL"}, {})))


def test_no_templates_give_no_captions() -> None:
    table = _build(_products(({"kind": "hat"}, {})), _templates())
    assert table["captions"].to_pylist() == [[]]


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["title", "description", "colour", "kind", "size"]), st.text(min_size=1)),
        min_size=1,
        max_size=5,
    )
)
def test_every_product_with_a_named_value_has_a_caption(own: list[dict[str, str]]) -> None:
    products = _products(({"kind": "hat"}, {}), *[({}, texts) for texts in own])
    table = _build(products)
    named = {"title", "description", "colour", "kind"}
    for captions, texts in zip(table["captions"].to_pylist()[1:], own, strict=True):
        has_value = any(any(map(str.isalnum, text)) for name, text in texts.items() if name in named)
        kinds = [caption["kind"] for caption in captions]
        assert bool(captions) == has_value
        assert kinds == [kind for kind in KINDS if kind in kinds]
        keys = [comparison_key(caption["text"]) for caption in captions]
        assert len(keys) == len(set(keys))
        assert all(caption["num_tokens"] == _words([caption["text"]])[0] <= 9 for caption in captions)


def test_invalid_template_is_an_error_that_names_its_kind() -> None:
    for changes, fault in (
        ({"short": "plain"}, "short must name a text or an attribute"),
        ({"short": ["{kind}", "plain"]}, r"short\.1 must name a text or an attribute"),
        ({"title": []}, "title must be null, a template or a list of at least one"),
        ({"head": "a b"}, "head must be the name"),
    ):
        with pytest.raises(ValueError, match=fault):
            _templates(**changes)


def test_kind_with_several_templates_has_captions_in_their_order() -> None:
    products = _products(({"colour": "red", "kind": "dress", "for": "women"}, {}), ({"kind": "hat"}, {}))
    table = _build(products, _templates(short=["{colour} {kind}", "{kind}", "{kind} for {for}"]))
    assert _texts(table) == [
        [("short", "red dress"), ("short", "dress"), ("short", "dress for women")],
        [("short", "hat")],
    ]


def test_repeated_captions_of_a_product_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    products = _products(
        ({"kind": "Red coat"}, {"title": "red coat!", "description": "Red coat with buttons"}),
        ({"kind": "hat"}, {"title": "Hat"}),
        ({"kind": "cap"}, {"title": "HAT"}),
    )
    table = _build(products, _templates(title="{title}", highlights="{title}, {description}", short="{kind}"))
    assert _texts(table) == [
        [("title", "red coat!"), ("highlights", "Red coat with buttons")],
        [("title", "Hat")],
        [("title", "HAT"), ("short", "cap")],
    ]
    assert "repeated captions left out: 4" in caplog.text
    assert "too long" not in caplog.text
    assert "share a caption with another product (false negatives in training): title 2" in caplog.text


def test_shared_captions_are_counted_by_kind(tmp_path: Path) -> None:
    products = _products(*[({"kind": kind}, {"title": f"No {number}"}) for number, kind in enumerate("aab")])
    write_captions(tmp_path / "shop.parquet", _build(products, _templates(title="{title}", short="{kind}")))
    summary = read_summary(tmp_path / "shop.parquet")
    assert summary["num_shared"] == {"title": 0, "short": 2}
    assert summary["num_captions"] == {"title": 3, "short": 3}


def test_values_emptied_by_cleaning_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    products = _products(
        ({"kind": "<b>coat</b>"}, {"title": "Coat REF-1", "description": "FREE  shipping"}),
        ({"kind": "hat"}, {"title": "REF-22", "description": "A hat. Free shipping"}),
    )
    rules = cleaning_rules.none(html=True, sku=[r"REF-\d+"], boilerplate=["free shipping"])
    table = _build(products, cleaning=rules)
    assert _texts(table) == [
        [("title", "Coat")],
        [("highlights", "A hat."), ("attributes", "hat")],
    ]
    write_captions(tmp_path / "shop.parquet", table)
    assert read_summary(tmp_path / "shop.parquet")["cleaning"] == {
        "boilerplate.0": {"num_values": 2, "num_emptied": 1, "examples": ["FREE shipping", "Free shipping"]},
        "html": {"num_values": 1, "num_emptied": 0, "examples": ["</b>", "<b>"]},
        "sku.0": {"num_values": 2, "num_emptied": 1, "examples": ["REF-1", "REF-22"]},
    }
    assert "rule sku.0: changed 2 values and emptied 1; removed 'REF-1', 'REF-22'" in caplog.text


def test_gender_is_kept_or_neutral() -> None:
    products = _products(
        ({"for": "Men", "kind": "shirts", "brand": "Lady M"}, {"title": "Lady M Men's shirts"}),
        ({"for": "Boys", "kind": "shirts"}, {"title": "Shirt for boys"}),
    )
    templates = _templates(title="{title}", short="{kind} for {for}")
    assert _texts(_build(products, templates))[0] == [("title", "Lady M Men's shirts"), ("short", "shirts for Men")]
    assert _texts(_build(products, templates, gender="neutral")) == [
        [("title", "Lady M shirts"), ("short", "shirts")],
        [("title", "Shirt for kids"), ("short", "shirts for Kids")],
    ]


def test_long_caption_keeps_the_head() -> None:
    title = "An extraordinarily soft and warm red rain coat for every day of the year"
    products = _products(({"kind": "Rain Coats"}, {"title": title}))
    table = _build(products, _templates(title="{title}", head="kind"), length=5)
    (caption,) = table["captions"].to_pylist()[0]
    assert caption == {"kind": "title", "text": "An extraordinarily soft rain coat", "num_tokens": 5, "truncated": True}


def test_other_languages_are_unchanged() -> None:
    titles = [
        "上質な赤いコート（冬用）",
        "معطف أحمر دافئ",
        "Élégant manteau d’hiver",
        "Пальто ЖЕНСКОЕ",
        "कोट लाल",
        "เสื้อโค้ทสีแดง",
    ]
    products = _products(*[({}, {"title": title}) for title in titles])
    table = _build(products, _templates(title="{title}"), gender="neutral", cleaning=cleaning_rules.declared())
    assert [own[0][1] for own in _texts(table)] == titles


def test_names_that_no_product_has_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    _build(_products(({"kind": "hat"}, {})), _templates(short="{kind}", head="category"))
    assert "caption `head` names `category`, which no product has (products have kind)" in caplog.text


def test_tokens_are_counted_without_truncation() -> None:
    tokenizer = SimpleTokenizer(context_length=8)
    texts = ["red coat", "a very long text about a red coat with buttons and pockets"]
    short, long = token_counter(tokenizer)(texts)
    assert short == int((tokenizer(texts)[0] != 0).sum())
    assert long > 8

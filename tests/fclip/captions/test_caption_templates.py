"""Templates: present values are filled in, missing ones are left out with the words that lead to them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fclip.captions.templates import Template


@pytest.mark.parametrize(
    ("template", "values", "caption"),
    [
        ("{gender} {colour} {article_type}", {"gender": "Men", "article_type": "shirt"}, "Men shirt"),
        ("{highlights}, {description}", {"highlights": "soft, warm"}, "soft, warm"),
        ("{highlights}, {description}", {"description": "A coat."}, "A coat."),
        ("{a}, {b}, {c}", {"a": "one", "c": "three"}, "one, three"),
        ("{a} - {b}: {c}", {"a": "one", "c": "three"}, "one - three"),
        ("{a} ({b})", {"a": "shirt"}, "shirt"),
        ("{a} ({b}, {c})", {"a": "shirt", "c": "red"}, "shirt (red)"),
        ("a {a}, {b}.", {"a": "shirt"}, "a shirt."),
        ("{a}, {b}", {"a": "with a comma,", "b": "and\n lines"}, "with a comma, and lines"),
        ("{a}-{b}", {"a": "t", "b": "shirt"}, "t-shirt"),
        ("{a}", {"a": " - "}, None),
        ("{a}", {}, None),
        ("a photo of {a}", {"b": "nothing named"}, None),
        ("{a} {{x}}", {"a": "braces"}, "braces {x}"),
        ("{a} for {b}", {"a": "dress"}, "dress"),
        ("{a} for {b}", {"b": "women"}, "women"),
        ("{a} for {b} by {c}", {"a": "dress", "c": "Ane"}, "dress by Ane"),
        ("a photo of a {a} {b}", {"b": "dress"}, "a photo of a dress"),
        ("{a} made of {b} fabric", {"a": "dress"}, "dress"),
        ("{a}, {b}", {"a": "Red coat", "b": "red coat, with buttons."}, "red coat, with buttons."),
        ("{a} {b}", {"a": "Red", "b": "A coat in red"}, "A coat in red"),
        ("{a} {b}", {"a": "red", "b": "Tired coat"}, "red Tired coat"),
        ("{a} {b}", {"a": "men", "b": "women's shirt"}, "men women's shirt"),
        ("{a} {b}", {"a": "shirt", "b": "T-shirt"}, "shirt T-shirt"),
        ("{a} {b}", {"a": "coat", "b": "Coat"}, "coat"),
        ("{a} {b}", {"a": "coat red", "b": "red coat"}, "coat red red coat"),
        ("{a}", {"a": "{b}"}, "{b}"),
    ],
)
def test_template_is_filled(template: str, values: dict[str, str], caption: str | None) -> None:
    filled = Template.parse(template).fill(values)
    assert (filled and filled.text) == caption


def test_filled_template_has_the_ends_of_its_values() -> None:
    filled = Template.parse("a {a} - {b} {c}.").fill({"a": "red", "c": "new"})
    assert filled is not None
    assert [filled.text[:end] for end in filled.ends] == ["a red", "a red - new"]


@pytest.mark.parametrize("text", ["", "no names", "{", "{}", "{0}", "{a.b}", "{a[0]}", "{a!r}", "{a:>5}", "{a"])
def test_invalid_template_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        Template.parse(text)


NAMES = ["a", "b", "c"]
separators = st.sampled_from([" ", ", ", " - ", "; ", " (", ") ", ": ", " / ", ". "])
words = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=6)
values = st.dictionaries(st.sampled_from(NAMES), st.lists(words, min_size=1, max_size=3).map(" ".join))


@given(separators, separators, values)
def test_filled_captions_are_tidy_and_contain_all_values(first: str, second: str, product: dict[str, str]) -> None:
    filled = Template.parse(f"{{a}}{first}{{b}}{second}{{c}}").fill(product)
    assert (filled is None) == (not product)
    if filled is not None:
        caption = filled.text
        assert not re.search(r"\s\s|[,;:/-]\s*[,;:/-]|\(\s*\)|^[\s,;:/-]|[\s,;:/-]$", caption)
        assert all(value.casefold() in caption.casefold() for value in product.values())


@given(st.dictionaries(st.sampled_from(NAMES), st.text()))
def test_values_are_filled_in_or_left_out(product: dict[str, str]) -> None:
    caption = Template.parse("{a}, {b} {c}").fill(product)
    usable = [value for value in product.values() if re.search(r"[^\W_]", value)]
    assert (caption is not None) == bool(usable)

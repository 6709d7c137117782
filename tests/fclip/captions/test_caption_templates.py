"""Templates: what is there is said, what is not leaves no trace but the words around it."""

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
        ("{a}", {"a": "{b}"}, "{b}"),
    ],
)
def test_fill(template: str, values: dict[str, str], caption: str | None) -> None:
    assert Template.parse(template).fill(values) == caption


@pytest.mark.parametrize("text", ["", "no names", "{", "{}", "{0}", "{a.b}", "{a[0]}", "{a!r}", "{a:>5}", "{a"])
def test_what_is_no_template_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        Template.parse(text)


NAMES = ["a", "b", "c"]
separators = st.sampled_from([" ", ", ", " - ", "; ", " (", ") ", ": ", " / ", ". "])
words = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=6)
values = st.dictionaries(st.sampled_from(NAMES), st.lists(words, min_size=1, max_size=3).map(" ".join))


@given(separators, separators, values)
def test_filled_captions_are_tidy_and_say_all_there_is(first: str, second: str, own: dict[str, str]) -> None:
    caption = Template.parse(f"{{a}}{first}{{b}}{second}{{c}}").fill(own)
    assert (caption is None) == (not own)
    if caption is not None:
        assert not re.search(r"\s\s|[,;:/-]\s*[,;:/-]|\(\s*\)|^[\s,;:/-]|[\s,;:/-]$", caption)
        assert all(value in caption for value in own.values())


@given(st.dictionaries(st.sampled_from(NAMES), st.text()))
def test_any_text_is_filled_or_left_out(own: dict[str, str]) -> None:
    caption = Template.parse("{a}, {b} {c}").fill(own)
    says = [value for value in own.values() if re.search(r"[^\W_]", value)]
    assert (caption is not None) == bool(says)

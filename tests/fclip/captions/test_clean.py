# ruff: noqa: RUF001
"""Cleaning: the configured rules remove their matches and nothing else."""

import re
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fclip.captions import clean
from fclip.captions.clean import Cleaner
from fclip.captions.markup import _decoded, plain_text
from fclip.errors import UserError
from tests.fclip.captions import cleaning_rules

CLEANER = Cleaner.from_config(cleaning_rules.declared())


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>Soft <b>red</b> coat</p><p>Warm!</p>", "Soft red coat. Warm!"),
        ("<ul><li>100% cotton</li><li>Machine wash</li></ul>", "100% cotton. Machine wash"),
        ("one<br/>two<br>three", "one two three"),
        ("Re<b>d</b> coat<i>, new</i>", "Red coat, new"),
        ("<style>p{a:b}</style>x<script>if(a<b && c>d){}</script>y", "x y"),
        ("<!-- a <b>comment</b> -->coat", "coat"),
        ("<![CDATA[Soft <b>coat</b>]]>", "Soft coat"),
        ("<!DOCTYPE html><html><body>coat</body></html>", "coat"),
        ('<a title="a > b" href=x>coat</a>', "coat"),
        ("<p title=Men's>Men's</p> shirt", "Men's. shirt"),
        ("<o:p></o:p>coat</font >", "coat"),
        ("A &amp; B &eacute;t&#233; &#x1F457; 30&nbsp;cm", "A & B été 👗 30 cm"),
        ("&lt;p&gt;Soft&lt;/p&gt;", "Soft"),
        ("&amp;lt;3", "&lt;3"),
        ("I <3 this, a < b and c > d, <W32 or >L30", "I <3 this, a < b and c > d, <W32 or >L30"),
        ("AT&T black&gold &nosuch; R&D;", "AT&T black&gold &nosuch; R&D;"),
        ("日本<b>語</b>の服 قميص <i>أحمر</i>", "日本語の服 قميص أحمر"),
        ("an end that never comes <b", "an end that never comes <b"),
    ],
)
def test_markup_is_removed_and_text_stays(html: str, text: str) -> None:
    assert CLEANER.text(html).text == text


@pytest.mark.parametrize(
    "text",
    [
        *("501", "Levi's 501", "Levi's 501-0115 jeans", "A-line", "T-shirt", "100% cotton", "2XL", "V-neck", "UV400"),
        *("AW2012", "SS2012DROP", "SPRING-2012", "2012-2013", "W32-L34", "EU42-UK8-US10", "3-IN-1", "CO2-neutral"),
        *("EDT-1000ML", "SPRAY100ML", "Nike AIR MAX 90", "ASICS GT-2160", "T90", "F50", "V.11", "109F", "4711"),
        *("style 7", "model on the left", "the article: soft", "No. 5", "product of 1999", "art 2000", "Ref", "3/4th"),
        *("A < B", "free-spirited", "order your coat", "e.g. shoes.", "a@b", "www", "Nr. 1"),
        *("日本語の服。サイズ：ＸＬ", "Été à la plage", "Größe 38", "قميص أحمر للرجال", "เสื้อยืดสีแดง", "Красное платье"),
    ],
)
def test_sizes_years_words_and_other_languages_stay(text: str) -> None:
    assert CLEANER.text(text) == clean.CleanedText(text)


@pytest.mark.parametrize(
    ("text", "left", "rule"),
    [
        ("Police Men Grey Dial Watch PL12698JSU", "Police Men Grey Dial Watch", "sku.1"),
        ("Watch (A504) LTP-2069D-2A2VDF, steel", "Watch (A504), steel", "sku.1"),
        ("Coat, SKU: 40-A1, red", "Coat, red", "sku.0"),
        ("Coat (Style no. 7731)", "Coat", "sku.0"),
        ("Item code: AB-12. Soft.", "Soft.", "sku.0"),
        ("EAN 4006381333931", "", "sku.0"),
        ("Soft coat 4006381333931 red", "Soft coat red", "sku.2"),
        ("See https://shop.example/a?b=c, or write to me.too@shop.example.", "See, or write to.", "urls"),
        ("詳細はhttps://shop.example/aで", "詳細は で", "urls"),
        ("A coat. Free shipping! Model is 178 cm tall and wears size M.", "A coat.", "boilerplate.0"),
    ],
)
def test_codes_addresses_and_boilerplate_are_removed(text: str, left: str, rule: str) -> None:
    cleaned = CLEANER.text(text)
    assert cleaned.text == left
    assert rule in cleaned.removed


def test_only_markup_is_removed_from_attributes() -> None:
    assert CLEANER.attribute("Men&#39;s PL12698JSU <b>Shirts</b>").text == "Men's PL12698JSU Shirts"


def test_presets_have_working_rules() -> None:
    for preset in ("params/kagl.yaml", "params/table.yaml"):
        assert Cleaner.from_config(cleaning_rules.declared(preset)).text("Watch PL12698JSU").text == "Watch"


def test_long_text_is_cut_at_white_space() -> None:
    cleaner = Cleaner.from_config(cleaning_rules.none(max_chars=9))
    assert cleaner.text("red coat too long").text == "red coat"
    assert cleaner.text("red coats too long").text == "red coats"
    assert len(cleaner.text("x" * 10_000_000).text) == 9


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        ("(", r"sku\.1 must be a regular expression, not '\(' \(missing \)"),
        ("x*", r"sku\.1 must not match the empty text"),
    ],
)
def test_invalid_pattern_is_an_error(pattern: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        cleaning_rules.none(sku=["fine", pattern])


def test_slow_pattern_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clean, "PATTERN_TIMEOUT_S", 0.1)
    cleaner = Cleaner.from_config(cleaning_rules.none(boilerplate=["(a|aa)+$"]))
    with pytest.raises(
        UserError, match=r"caption\.settings\.cleaning\.boilerplate\.0: the pattern '\(a\|aa\)\+\$' took longer"
    ):
        cleaner.text("a" * 60 + "b")


@pytest.mark.parametrize("unit", ["<b", "<a '\">", "<!--", "<script>", "&amp", "</a", "<![CDATA[", "]]>", "<b>", " "])
def test_hostile_markup_takes_linear_time(unit: str) -> None:
    begin = time.process_time()
    plain_text(unit * (400_000 // len(unit)) + ">" * 1000)
    assert time.process_time() - begin < 5  # normally tenths of a second; minutes if it were quadratic


FRAGMENTS = st.sampled_from(
    [
        *(
            "<b>",
            "</p>",
            "<",
            ">",
            "<a href='",
            '"',
            "<!--",
            "-->",
            "<script>",
            "</script>",
            "<br/>",
            "</",
            "b",
            "&lt;",
        ),
        *(
            "&amp;",
            "&",
            "lt;",
            "SKU: 12-A",
            "PL12698JSU",
            "https://a.b/c",
            "me@a.bc",
            "Free shipping",
            "501",
            "T-shirt",
        ),
        *(
            " ",
            ", ",
            "(",
            ")",
            ".",
            "-",
            "\0",
            "\n",
            "men",
            "日本",
            "é",
            "400638133393",
            "1",
            "2",
            "PL",
            "free ",
            "size",
        ),
    ]
)
HOSTILE = st.lists(FRAGMENTS | st.text(max_size=4), max_size=12).map("".join)


@given(HOSTILE)
def test_cleaning_is_idempotent(text: str) -> None:
    once = CLEANER.text(text).text
    assume(not _decoded(once)[1])  # entities are decoded only once: `&amp;lt;`
    assert CLEANER.text(once) == clean.CleanedText(once)


@given(HOSTILE | st.text())
def test_without_rules_only_white_space_changes(text: str) -> None:
    cleaned = Cleaner.from_config(cleaning_rules.none()).text(text)
    assert cleaned == clean.CleanedText(" ".join(re.sub(r"[\0-\x1f\x7f]", " ", text).split()))


@given(HOSTILE | st.text())
def test_only_recorded_parts_are_removed(text: str) -> None:
    """All letters and digits are in the result or in the removed parts, and none are new."""
    cleaned = Cleaner.from_config(cleaning_rules.declared(html=False)).text(text)
    before = "".join(char for char in text if char.isalnum())
    left = "".join(char for char in cleaned.text if char.isalnum())
    removed = "".join(char for each in cleaned.removed.values() for part in each for char in part if char.isalnum())
    assert sorted(before) == sorted(left + removed)
    letters = iter(before)
    assert all(char in letters for char in left)  # in the same order


@given(st.text())
def test_text_without_markup_is_unchanged(text: str) -> None:
    assume("<" not in text and "&" not in text and "]]>" not in text)
    assert plain_text(text) == (text, ())

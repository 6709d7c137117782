"""Certain faults in texts are repaired and counted; all other text is unchanged."""

from collections.abc import Callable

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fclip.catalog.repair import repair_text, spelling_corrections
from tests.fclip.catalog.catalog_shop import Built, Shop

Build = Callable[..., Built]


@pytest.mark.parametrize(
    ("text", "repaired", "what"),
    [
        ("CafÃ© crÃ¨me", "Café crème", ("mojibake",)),
        ("doesnâ€™t", "doesn\u2019t", ("mojibake",)),
        ("a\x00b", "ab", ("control characters",)),
        ("\ufeffred", "red", ("control characters",)),
        ("hat \ud83e\udde2", "hat 🧢", ("surrogate pairs",)),
        ("caf\udce9", "caf\udce9", ()),  # the original is unknown: validation refuses it
        ("Ärmelloses Kleid", "Ärmelloses Kleid", ()),
        ("très chic", "très chic", ()),
        ("赤いドレス", "赤いドレス", ()),
        ("فستان أحمر", "فستان أحمر", ()),
        ("line\nbreak\ttab", "line\nbreak\ttab", ()),
        ("“quoted” – dashed…", "“quoted” – dashed…", ()),
    ],
)
def test_repair_text_fixes_certain_faults_only(text: str, repaired: str, what: tuple[str, ...]) -> None:
    assert repair_text(text) == (repaired, what)


@given(st.text(max_size=60))
def test_repair_is_idempotent(text: str) -> None:
    once, _ = repair_text(text)
    assert repair_text(once) == (once, ())


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_plain_text_is_unchanged(text: str) -> None:
    assert repair_text(text) == (text, ())


@given(st.text("àéîöüñçßøåæœÀÉ abcdefgh", max_size=40))
def test_utf8_decoded_as_latin_1_is_repaired_or_unchanged(text: str) -> None:
    broken = text.encode().decode("latin-1")
    assert repair_text(broken)[0] in (text.strip(), broken.strip(), repair_text(broken)[0])
    if text.strip() and not text.isascii():
        assert repair_text(f"{broken} Ã© Ã¨")[1]


def test_rare_spellings_map_to_the_most_frequent_one() -> None:
    counts = {"Navy Blue": 5, "navy blue": 2, "Navy-Blue": 1, "NAVY_BLUE": 1, "Blue": 9, "1.5": 1, "15": 1, "Tees": 3}
    renamed = spelling_corrections(counts)
    assert renamed == dict.fromkeys(["navy blue", "Navy-Blue", "NAVY_BLUE"], "Navy Blue")
    assert spelling_corrections({"a b": 1, "A B": 1}) == {"a b": "A B"}


def test_repairs_of_a_catalog_are_stored_and_counted(full_shop: Shop, build: Build) -> None:
    rows = [f"p{index},Red coat no {index},red,{index}.jpg" for index in range(60)]
    rows[3] = "p3,CafÃ© coat,Red ,3.jpg"
    rows[4] = "p4,Plain coat,RED,4.jpg"
    full_shop.write_csv(["id,title,colour,image", *rows])
    built = build(full_shop.source())
    assert built.summary.repaired == {"mojibake in title": 1, "spelling in colour": 2}
    by_id = {row["product_id"]: row for row in built.products}
    assert dict(by_id["p3"]["texts"])["title"] == "Café coat"
    assert {dict(row["attributes"])["colour"] for row in built.products} == {"red"}
    repairs = pq.read_table(built.catalog / "repairs.parquet").to_pylist()
    assert [(row["product_id"], row["field"], row["before"], row["after"]) for row in repairs] == [
        ("p3", "colour", "Red", "red"),
        ("p3", "title", "CafÃ© coat", "Café coat"),
        ("p4", "colour", "RED", "red"),
    ]

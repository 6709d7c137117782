# ruff: noqa: RUF001
"""Gender words: removed, replaced, or kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fclip.captions.gender import LEFT_OUT, NAMES, REPLACED, gender_neutral


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Men's Running Shoes", "Running Shoes"),
        ("Nike Men’s Shoes", "Nike Shoes"),
        ("ADIDAS WOMEN Black T-shirt", "ADIDAS Black T-shirt"),
        ("boys' shirt", "kids' shirt"),
        ("Boy's Navy Crew", "Kid's Navy Crew"),
        ("GIRLS TEE", "KIDS TEE"),
        ("T-shirt for girls", "T-shirt for kids"),
        ("Boys & Girls' coat", "Kids' coat"),
        ("Women and Girls dress", "dress"),
        ("Shoes for men and women, red", "Shoes, red"),
        ("Perfume (for women)", "Perfume"),
        ("Watch for a gentleman", "Watch"),
        ("Ladies' Coat - Women", "Coat"),
        ("Summer Menswear", "Summer Clothing"),
        ("Women", ""),
        ("Unisex kids", "Unisex kids"),
    ],
)
def test_gender_words_are_removed_or_replaced(text: str, expected: str) -> None:
    assert gender_neutral(text).text == expected


@pytest.mark.parametrize(
    "text",
    [
        "womenfolk",
        "mention",
        "X-Men tee",
        "man-made",
        "boyfriend jeans",
        "Menorca",
        "Ladybird",
        "人男",
        "für Damen",
        *NAMES,
    ],
)
def test_similar_words_and_names_stay(text: str) -> None:
    assert gender_neutral(text).text == text


def test_brand_of_the_product_stays() -> None:
    assert gender_neutral("Ladies First Women Dress", "Ladies First").text == "Ladies First Dress"
    assert gender_neutral("Ladies First Women Dress").text == "First Dress"


@given(st.lists(st.sampled_from([*LEFT_OUT, *REPLACED, "red", "shirt", "for", "and", "&", ",", "(", ")", "'s", "-"])))
def test_all_gender_words_and_no_other_words_are_removed(words: list[str]) -> None:
    text = " ".join(words)
    neutral = gender_neutral(text)
    assert not {*LEFT_OUT, *REPLACED} & set(neutral.text.split())
    assert neutral.text.count("shirt") == text.count("shirt")
    assert neutral.text.count("red") == text.count("red")
    assert gender_neutral(neutral.text).removed == {}

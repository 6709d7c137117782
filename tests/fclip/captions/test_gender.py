# ruff: noqa: RUF001
"""Gender words: which go, which are replaced, and which are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fclip.captions.gender import LEFT_OUT, NAMES, REPLACED, neutral


@pytest.mark.parametrize(
    ("text", "said"),
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
def test_gender_goes_and_the_sense_stays(text: str, said: str) -> None:
    assert neutral(text).text == said


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
def test_what_only_looks_like_gender_stays(text: str) -> None:
    assert neutral(text).text == text


def test_the_products_own_brand_stays() -> None:
    assert neutral("Ladies First Women Dress", "Ladies First").text == "Ladies First Dress"
    assert neutral("Ladies First Women Dress").text == "First Dress"


@given(st.lists(st.sampled_from([*LEFT_OUT, *REPLACED, "red", "shirt", "for", "and", "&", ",", "(", ")", "'s", "-"])))
def test_nothing_of_gender_is_left_and_nothing_else_goes(words: list[str]) -> None:
    text = " ".join(words)
    said = neutral(text)
    assert not {*LEFT_OUT, *REPLACED} & set(said.text.split())
    assert said.text.count("shirt") == text.count("shirt")
    assert said.text.count("red") == text.count("red")
    assert neutral(said.text).removed == {}

"""The hash split: it never changes, and it matches the fractions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fclip.catalog.splits import normalised_text, normalised_title, split_key, split_of, split_position

FRACTIONS = {"train": 0.7, "val": 0.2, "test": 0.1}
texts = st.text(st.characters(exclude_categories=("Cs",)))


@given(texts)
def test_position_is_in_the_unit_interval_and_a_group_in_one_split(group: str) -> None:
    assert 0 <= split_position(group) < 1
    assert split_of(group, FRACTIONS) == split_of(group, dict(reversed(FRACTIONS.items())))
    assert split_of(group, {"val": 1.0}) == "val"


@given(texts, st.floats(0.1, 0.5), st.floats(0.5, 0.9))
def test_larger_train_fraction_keeps_all_train_groups(group: str, small: float, large: float) -> None:
    if split_of(group, {"train": small, "test": 1 - small}) == "train":
        assert split_of(group, {"train": large, "test": 1 - large}) == "train"


def test_positions_equal_reference_values() -> None:
    # The digests of FIPS 180-2: a change here moves every product of every catalog.
    assert split_position("") == int("e3b0c44298fc", 16) / 2**48
    assert split_position("abc") == int("ba7816bf8f01", 16) / 2**48
    assert split_of("abc", {"train": 0.72, "val": 0.01, "test": 0.27}) == "val"


def test_many_groups_match_the_fractions() -> None:
    splits = [split_of(f"product {index}", FRACTIONS) for index in range(20_000)]
    for split, fraction in FRACTIONS.items():
        assert splits.count(split) / len(splits) == pytest.approx(fraction, abs=0.015)


def test_split_key_is_the_parent_else_the_title_else_the_product() -> None:
    assert split_key(product_id="7", parent_id="42", title="red coat") == "42"
    assert split_key(product_id="7", parent_id=None, title="red coat") == "red coat"
    assert split_key(product_id="7", parent_id=None, title="") == "7"


def test_normalised_title_uses_the_title_or_all_texts() -> None:
    assert normalised_title({"title": "Red  Coat!", "description": "x"}) == "red coat"
    assert normalised_title({"description": "B", "about": "A"}) == "a b"
    assert normalised_title({"title": "!?"}) == normalised_title({}) == ""


@pytest.mark.parametrize("text", ["red coat", "  RED\tcoat ", "Red-Coat!", "\uff32\uff25\uff24 coat"])
def test_case_punctuation_and_width_are_normalised(text: str) -> None:
    assert normalised_text(text) == "red coat"

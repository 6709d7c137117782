"""Products to pairs: which are used, and what a pass draws."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fclip.errors import UserError
from fclip.training.data import read_items, repeated_fraction, training_pass, validation_pass
from tests.fclip.training.training_jobs import caption, product_rows, write_products

WEIGHTS = {"title": 3.0, "short": 1.0, "attributes": 0.0}


def rows(**splits: int) -> list[dict[str, Any]]:
    return product_rows(splits)[0]


def test_items_are_sorted_and_of_the_split(tmp_path: Path) -> None:
    table = rows(train=12, val=3)
    items = read_items(write_products(tmp_path, table[::-1]), "train", WEIGHTS)
    assert [item.product_id for item in items] == [f"p{number:03d}" for number in range(12)]
    assert len(items[0].images) == 2
    assert dict(items[1].captions) == {"title": ("green number 1",), "short": ("green",)}


def test_products_without_an_image_or_a_caption_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = rows(train=6)
    table[1]["images"] = []
    table[2]["captions"] = [caption("attributes", "of a kind that is not drawn"), caption("title", "")]
    with caplog.at_level("INFO"):
        items = read_items(write_products(tmp_path, table), "train", WEIGHTS)
    assert [item.product_id for item in items] == ["p000", "p003", "p004", "p005"]
    assert "4 products (left out: 1 without an image, 1 without a caption)" in caplog.text


def test_a_split_of_nothing_is_refused(tmp_path: Path) -> None:
    path = write_products(tmp_path, rows(train=3))
    with pytest.raises(UserError, match="split `val`"):
        read_items(path, "val", WEIGHTS)
    with pytest.raises(UserError, match=r"no caption of the kinds in finetune.captions \(highlights\)"):
        read_items(path, "train", {"highlights": 1.0})
    with pytest.raises(UserError, match="dvc repro gather"):
        read_items(tmp_path / "absent.parquet", "train", WEIGHTS)


def test_a_pass_has_every_product_once_with_what_is_its_own(tmp_path: Path) -> None:
    items = read_items(write_products(tmp_path, rows(train=200)), "train", WEIGHTS)
    passes = [training_pass(items, WEIGHTS, seed=0, epoch=epoch) for epoch in range(3)]
    of_image = {image: item for item in items for image in item.images}
    for one in passes:
        assert Counter(of_image[image].product_id for image in one.images) == Counter(i.product_id for i in items)
        for image, text in zip(one.images, one.texts, strict=True):
            assert (text,) in of_image[image].captions.values()
    assert passes[0] == training_pass(items, WEIGHTS, seed=0, epoch=0)
    assert passes[0] != passes[1]
    assert passes[0] != training_pass(items, WEIGHTS, seed=1, epoch=0)
    titles = sum("number" in text for one in passes for text in one.texts)
    assert 0.68 < titles / 600 < 0.82
    assert {of_image[image].images.index(image) for one in passes for image in one.images} == {0, 1}


def test_a_kind_is_drawn_by_its_weight_then_one_of_its_captions_evenly(tmp_path: Path) -> None:
    table = rows(train=300)
    for row in table:
        row["captions"] += [caption("short", "second"), caption("short", "third")]
    items = read_items(write_products(tmp_path, table), "train", WEIGHTS)
    assert items[0].captions["short"] == ("red", "second", "third")
    drawn = [text for epoch in range(4) for text in training_pass(items, WEIGHTS, seed=0, epoch=epoch).texts]
    titles, second, third = sum("number" in text for text in drawn), drawn.count("second"), drawn.count("third")
    assert 0.7 < titles / 1200 < 0.8  # three captions of a kind make it no likelier
    for number in (second, third, 1200 - titles - second - third):
        assert 0.06 < number / 1200 < 0.11
    assert "red number 0" in validation_pass(items, WEIGHTS).texts
    assert set(validation_pass(items, {"short": 2.0, "title": 1.0}).texts) == {"red", "green", "blue", "grey"}


def test_validation_is_fixed_and_takes_the_most_frequent_kind(tmp_path: Path) -> None:
    table = rows(val=20)
    table[3]["captions"] = [caption("short", "only a short one")]
    items = read_items(write_products(tmp_path, table), "val", WEIGHTS)
    one = validation_pass(items, WEIGHTS)
    assert one == validation_pass(items, WEIGHTS)
    assert sorted(one.images) == sorted(item.images[0] for item in items)
    assert sum("number" in text for text in one.texts) == 19
    assert "only a short one" in one.texts


def test_repeated_captions_are_counted_within_full_batches() -> None:
    assert repeated_fraction(["a", "a", "b", "c", "d", "e", "e", "f", "x"], 4) == 0.5
    assert repeated_fraction(["a", "b"], 4) == 0.0

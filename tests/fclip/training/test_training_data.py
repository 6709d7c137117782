"""Training data: the products that are used, and the pairs that a pass samples."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fclip.base_models.local import LocalConfig
from fclip.base_models.registry import ChampionConfig
from fclip.errors import UserError
from fclip.training.config import FinetuneConfig, ReplayConfig
from fclip.training.data import Item, read_items, repeated_fraction, training_pass, validation_pass
from fclip.training.sampling import group_by_category, shuffled_order
from fclip.training.seen_rows import mark_seen_rows, write_seen_rows
from tests.fclip.training.training_jobs import caption, make_config, make_objective, product_rows, write_products

WEIGHTS = {"title": 3.0, "short": 1.0, "attributes": 0.0}
CONFIG = make_config(captions=WEIGHTS)


def replay_config(share: float | None) -> FinetuneConfig:
    otherwise = LocalConfig(kind="local", path="base-model")
    replay = None if share is None else ReplayConfig(share=share)
    return make_config(captions=WEIGHTS, base_model=ChampionConfig(kind="champion", otherwise=otherwise), replay=replay)


def rows(**splits: int) -> list[dict[str, Any]]:
    return product_rows(splits)[0]


def test_items_of_the_split_are_sorted(tmp_path: Path) -> None:
    table = rows(train=12, val=3)
    items = read_items(write_products(tmp_path, table[::-1]), "train", CONFIG.kinds)
    assert [item.product_id for item in items] == [f"p{number:03d}" for number in range(12)]
    assert len(items[0].images) == 2
    assert dict(items[1].captions) == {"title": ("green number 1",), "short": ("green",)}


def test_products_without_an_image_or_a_caption_are_excluded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = rows(train=6)
    table[1]["images"] = []
    table[2]["captions"] = [caption("attributes", "of a kind that is not sampled"), caption("title", "")]
    with caplog.at_level("INFO"):
        items = read_items(write_products(tmp_path, table), "train", CONFIG.kinds)
    assert [item.product_id for item in items] == ["p000", "p003", "p004", "p005"]
    assert "4 products (excluded: 1 without an image, 1 without a caption)" in caplog.text


def test_a_split_without_usable_products_is_an_error(tmp_path: Path) -> None:
    path = write_products(tmp_path, rows(train=3))
    with pytest.raises(UserError, match="split `val`"):
        read_items(path, "val", CONFIG.kinds)
    with pytest.raises(UserError, match=r"no caption of the kinds in finetune \(highlights\)"):
        read_items(path, "train", {"highlights"})
    with pytest.raises(UserError, match="dvc repro gather"):
        read_items(tmp_path / "absent.parquet", "train", CONFIG.kinds)


def test_a_pass_has_every_product_once_with_its_own_image_and_caption(tmp_path: Path) -> None:
    items = read_items(write_products(tmp_path, rows(train=200)), "train", CONFIG.kinds)
    passes = [training_pass(items, CONFIG, seed=0, epoch=epoch) for epoch in range(3)]
    of_image = {image: item for item in items for image in item.images}
    for one in passes:
        assert Counter(of_image[image].product_id for image in one.images) == Counter(i.product_id for i in items)
        for item, image, text in zip(one.items, one.images, one.texts, strict=True):
            assert image in items[item].images
            assert text in of_image[image].captions.values()
    assert passes[0] == training_pass(items, CONFIG, seed=0, epoch=0)
    assert passes[0] != passes[1]
    assert passes[0] != training_pass(items, CONFIG, seed=1, epoch=0)
    titles = sum("number" in text for one in passes for (text,) in one.texts)
    assert 0.68 < titles / 600 < 0.82
    assert {of_image[image].images.index(image) for one in passes for image in one.images} == {0, 1}


def test_replay_has_all_new_products_and_a_share_of_the_old_ones(tmp_path: Path) -> None:
    write_seen_rows(write_products(tmp_path, rows(train=150)), tmp_path / "rows.parquet")
    mark_seen_rows(write_products(tmp_path, rows(train=220)), tmp_path / "rows.parquet", tmp_path / "marked.parquet")
    items = read_items(tmp_path / "marked.parquet", "train", CONFIG.kinds)
    of_image = {image: item for item in items for image in item.images}

    def sampled_items(share: float | None, epoch: int = 0, seed: int = 0) -> list[Item]:
        one = training_pass(items, replay_config(share), seed=seed, epoch=epoch)
        found = [of_image[image] for image in one.images]
        assert len({item.product_id for item in found}) == len(found)
        return found

    passes = [sampled_items(0.3, epoch) for epoch in range(20)]
    for found in passes:
        assert sum(not item.old for item in found) == 70
        assert sum(item.old for item in found) == 30  # 30 % of 100
    times = Counter(item.product_id for found in passes for item in found if item.old)
    assert len(times) > 140  # different old items in each pass
    assert max(times.values()) < 12
    assert sampled_items(0.3) == passes[0] != passes[1]
    assert sampled_items(0.3, seed=1) != passes[0]
    assert len(sampled_items(0.0)) == 70
    assert len(sampled_items(0.9)) == len(sampled_items(None)) == 220  # all items


def test_without_new_products_all_old_ones_are_used(tmp_path: Path) -> None:
    products = write_products(tmp_path, rows(train=10))
    unmarked = read_items(products, "train", CONFIG.kinds)
    assert len(training_pass(unmarked, replay_config(0.3), seed=0, epoch=0).images) == 10  # all items are new
    write_seen_rows(products, tmp_path / "rows.parquet")
    mark_seen_rows(products, tmp_path / "rows.parquet", tmp_path / "marked.parquet")
    items = read_items(tmp_path / "marked.parquet", "train", CONFIG.kinds)
    assert all(item.old for item in items)
    assert len(training_pass(items, replay_config(0.3), seed=0, epoch=0).images) == 10


def test_a_row_is_old_if_its_images_and_captions_are_unchanged(tmp_path: Path) -> None:
    before = rows(train=6, val=2)
    write_seen_rows(write_products(tmp_path, before), tmp_path / "rows.parquet")
    now = rows(train=6, val=2)
    now[0]["images"] = now[0]["images"][::-1]  # it has two images
    now[1]["captions"][0]["text"] += " now"
    now[2]["product_id"] = "another"
    now[3]["captions"][0]["num_tokens"] = 6  # not used in training
    mark_seen_rows(write_products(tmp_path, now[::-1]), tmp_path / "rows.parquet", tmp_path / "marked.parquet")
    old = {item.product_id for item in read_items(tmp_path / "marked.parquet", "train", CONFIG.kinds) if item.old}
    assert old == {"p003", "p004", "p005"}
    assert not any(item.old for item in read_items(tmp_path / "marked.parquet", "val", CONFIG.kinds))


def test_kinds_are_sampled_by_weight_and_captions_uniformly(tmp_path: Path) -> None:
    table = rows(train=300)
    for row in table:
        row["captions"] += [caption("short", "second"), caption("short", "third")]
    items = read_items(write_products(tmp_path, table), "train", CONFIG.kinds)
    assert items[0].captions["short"] == ("red", "second", "third")
    drawn = [text for epoch in range(4) for (text,) in training_pass(items, CONFIG, seed=0, epoch=epoch).texts]
    titles, second, third = sum("number" in text for text in drawn), drawn.count("second"), drawn.count("third")
    assert 0.7 < titles / 1200 < 0.8  # the number of captions does not change the weight of a kind
    for number in (second, third, 1200 - titles - second - third):
        assert 0.06 < number / 1200 < 0.11
    assert ("red number 0",) in validation_pass(items, CONFIG).texts
    short_first = make_config(captions={"short": 2.0, "title": 1.0})
    assert {text for (text,) in validation_pass(items, short_first).texts} == {"red", "green", "blue", "grey"}


def test_several_captions_are_of_different_kinds_where_a_product_has_them(tmp_path: Path) -> None:
    table = rows(train=40)
    table[3]["captions"] = [caption("short", "one kind"), caption("short", "two captions")]
    items = read_items(write_products(tmp_path, table), "train", CONFIG.kinds)
    two = make_config(captions=WEIGHTS, objective=make_objective(captions_per_image=2))
    for epoch in range(3):
        single, double = (training_pass(items, config, seed=0, epoch=epoch) for config in (CONFIG, two))
        assert (double.items, double.images) == (single.items, single.images)
        assert [row[:1] for row in double.texts] == list(single.texts)  # a second caption changes nothing else
        for item, row in zip(double.items, double.texts, strict=True):
            captions = items[item].captions
            assert {kind for kind in captions for text in row if text in captions[kind]} == captions.keys()
    assert [len(row) for row in validation_pass(items, two).texts] == [1] * 40


def test_the_validation_pass_is_fixed_and_uses_the_kind_with_the_highest_weight(tmp_path: Path) -> None:
    table = rows(val=20)
    table[3]["captions"] = [caption("short", "only a short one")]
    items = read_items(write_products(tmp_path, table), "val", CONFIG.kinds)
    one = validation_pass(items, CONFIG)
    assert one == validation_pass(items, CONFIG)
    assert sorted(one.images) == sorted(item.images[0] for item in items)
    assert sum("number" in text for (text,) in one.texts) == 19
    assert ("only a short one",) in one.texts


def test_repeated_captions_are_counted_within_full_batches() -> None:
    assert repeated_fraction([(text,) for text in "aabcdeefx"], 4) == 0.5
    assert repeated_fraction([("a",), ("b",)], 4) == 0.0


def test_a_row_has_a_text_for_each_field(tmp_path: Path) -> None:
    table = rows(train=40)
    table[3]["captions"] = [caption("short", "only a short one")]
    config = make_config(objective=make_objective(fields={"title": 0.5, "short": 0.5}))
    items = read_items(write_products(tmp_path, table), "train", config.kinds)
    for one in (training_pass(items, config, seed=0, epoch=0), validation_pass(items, config)):
        texts = dict(zip(one.items, one.texts, strict=True))
        assert texts[3] == ("only a short one", None)
        assert texts[4] == ("red", "red number 4")  # sorted by kind
    assert None not in one.all_texts


@given(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=4, max_size=60), st.integers(2, 8), st.integers(0, 8))
def test_batches_are_grouped_by_category(categories: list[str | None], batch_size: int, num_alike: int) -> None:
    num_alike = min(num_alike, batch_size)
    places = shuffled_order(0, 0, len(categories))
    found = group_by_category(places, categories, batch_size=batch_size, num_alike=num_alike, seed=0, epoch=0)
    assert sorted(found) == list(range(len(categories)))
    again = group_by_category(places, categories, batch_size=batch_size, num_alike=num_alike, seed=0, epoch=0)
    assert found.tolist() == again.tolist()
    if num_alike < 2:
        assert found.tolist() == places.tolist()
        return
    first = [categories[place] for place in found[:batch_size]]
    if len(categories) >= batch_size and any(categories):
        drawn = first[0]
        assert drawn is not None
        assert first[:num_alike].count(drawn) >= min(num_alike, categories.count(drawn))

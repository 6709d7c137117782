"""Split assignment: hold-outs and links by text, parent and picture; also typed attributes and refused rows."""

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from fclip.errors import UserError
from tests.fclip.catalog.catalog_shop import Built, Shop, jpeg
from tests.fclip.catalog.test_near_duplicates import photograph

Build = Callable[..., Built]
ROLES = {"train": "train", "val": "select", "test": "report"}


def coloured(shop: Shop, colours: list[str]) -> None:
    rows = [f"p{index},Coat no {index},{colour},{index}.jpg" for index, colour in enumerate(colours)]
    shop.write_csv(["id,title,colour,image", *rows])


def test_hold_out_products_are_in_no_other_split(full_shop: Shop, build: Build) -> None:
    coloured(full_shop, ["red", "green", "blue"] * 20)
    hold_outs = {"greens": {"colour": ["green"]}}
    built = build(full_shop.source(), roles={**ROLES, "greens": "report"}, hold_outs=hold_outs)
    assert built.summary.splits["greens"] == 20
    for row in built.products:
        assert (dict(row["attributes"])["colour"] == "green") == (row["split"] == "greens")
    without = build(full_shop.source(), roles=ROLES)
    others = {row["product_id"]: row["split"] for row in without.products}
    assert all(row["split"] == others[row["product_id"]] for row in built.products if row["split"] != "greens")


def test_held_out_product_with_an_image_of_train_is_removed(full_shop: Shop, build: Build) -> None:
    coloured(full_shop, ["red", "green"] * 30)
    clean = build(full_shop.source(), hold_outs={"greens": {"colour": ["green"]}})
    train = next(row["product_id"] for row in clean.products if row["split"] == "train")
    (full_shop.images / "1.jpg").write_bytes((full_shop.images / f"{train[1:]}.jpg").read_bytes())
    built = build(full_shop.source(), hold_outs={"greens": {"colour": ["green"]}})
    assert built.reasons == {1: "same image in train"}


def test_hold_out_without_products_is_an_error(full_shop: Shop, build: Build) -> None:
    with pytest.raises(UserError, match=r"hold_outs.greens: no product has colour 'green'; products have red"):
        build(full_shop.source(), hold_outs={"greens": {"colour": ["green"]}})
    with pytest.raises(UserError, match=r"no product has the attribute `brand`; products have colour"):
        build(full_shop.source(), hold_outs={"greens": {"brand": ["green"]}})


def test_near_duplicate_of_train_is_removed_from_other_splits(full_shop: Shop, build: Build) -> None:
    splits = {row["product_id"]: row["split"] for row in build(full_shop.source()).products}
    train = next(name for name, split in splits.items() if split == "train")
    test = next(name for name, split in splits.items() if split == "test")
    photograph(1).save(full_shop.images / f"{train[1:]}.jpg", quality=95)
    photograph(1).resize((150, 200)).save(full_shop.images / f"{test[1:]}.jpg", quality=60)
    built = build(full_shop.source())
    (refused,) = built.refused
    assert (refused["product_id"], refused["stage"], refused["reason"]) == (
        test,
        "split",
        "near-duplicate image in train",
    )
    assert refused["detail"] == f"in test, linked to {train!r} in train"
    assert built.summary.num_groups_across_splits == 0


def test_products_with_the_same_text_are_in_one_split(full_shop: Shop, build: Build) -> None:
    rows = [f"p{index},Coat,red,{index}.jpg,parent {index}" for index in range(60)]
    full_shop.write_csv(["id,title,colour,image,style", *rows])
    built = build(full_shop.source(parent_id="style"))
    assert {row["split"] for row in built.products} == {"train"}
    assert set(built.summary.refused_by_reason) == {"same text in train"}
    assert len({row["group_id"] for row in built.products}) == 1


def test_attributes_with_a_wrong_type_are_refused(full_shop: Shop, build: Build) -> None:
    prices = ["19.90", "nan", "", "1e3", "-5", "free", "inf", "12,50", " 7 ", "2012.0"]
    rows = [f'p{index},Coat no {index},"{price}",{index}.jpg' for index, price in enumerate(prices)]
    full_shop.write_csv(["id,title,colour,image", *rows])
    built = build(full_shop.source(), split={"train": 1.0}, types={"colour": "number"})
    assert built.reasons == {1: "wrong type", 5: "wrong type", 6: "wrong type", 7: "wrong type"}
    whole = build(full_shop.source(), split={"train": 1.0}, types={"colour": "integer"})
    assert whole.reasons == dict.fromkeys([0, 1, 5, 6, 7], "wrong type")


def test_too_many_bad_rows_stop_the_ingest(full_shop: Shop, build: Build, tmp_path: Path) -> None:
    for index in range(7):
        (full_shop.images / f"{index}.jpg").write_bytes(b"")
    with pytest.raises(UserError) as raised:
        build(full_shop.source(), max_refused_fraction=0.1, cache_dir=tmp_path / "cache")
    message = str(raised.value)
    assert "7 of 60 rows of `shop` were refused, 11.7%; the limit is 10.0%" in message
    assert "unreadable image: 7, for example row 0: no bytes" in message
    kept = tmp_path / "cache" / "refused.parquet"
    assert str(kept) in message
    assert pq.read_table(kept).num_rows == 7
    assert not any((tmp_path / "out").rglob("*"))
    assert build(full_shop.source(), max_refused_fraction=0.12).summary.num_products == 53


def test_rows_excluded_on_purpose_do_not_stop_the_ingest(full_shop: Shop, build: Build) -> None:
    shared = jpeg(1000)
    for index in range(60):
        (full_shop.images / f"{index}.jpg").write_bytes(shared)
    built = build(full_shop.source(), max_refused_fraction=0.0)
    assert built.summary.refused_by_reason.keys() == {"same image in train"}


def test_repeated_images_of_a_product_are_stored_once(full_shop: Shop, build: Build) -> None:
    Image.new("RGB", (30, 30), "white").save(full_shop.images / "white.jpg")
    full_shop.write_csv(["id,title,colour,image", "p0,Coat,red,0.jpg|white.jpg|0.jpg", "p1,Hat,red,1.jpg"])
    built = build(full_shop.source(image_separator="|"), split={"train": 1.0})
    assert [len(row["images"]) for row in built.products] == [2, 1]
    table = pq.read_table(built.catalog / "images.parquet")
    assert table.num_rows == built.summary.num_images == 3
    assert sorted(table["image_sha256"].to_pylist()) == table["image_sha256"].to_pylist()
    assert set(table["image_sha256"].to_pylist()) == {image for row in built.products for image in row["images"]}


def test_product_and_its_variants_are_in_one_split(full_shop: Shop, build: Build) -> None:
    rows = [
        f"p{index},Coat no {index},red,{index}.jpg,{f'p{index - 30}' if index >= 30 else ''}" for index in range(60)
    ]
    full_shop.write_csv(["id,title,colour,image,style", *rows])
    built = build(full_shop.source(parent_id="style"))
    split = {row["product_id"]: row["split"] for row in built.products}
    pairs = [(f"p{index}", f"p{index + 30}") for index in range(30)]
    assert all(split[one] == split[other] for one, other in pairs if one in split and other in split)
    assert built.summary.refused_by_reason
    assert all(reason.startswith("same parent in ") for reason in built.summary.refused_by_reason)

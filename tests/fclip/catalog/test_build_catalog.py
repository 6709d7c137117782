"""Building a catalog: every row becomes a product or goes to quarantine, and no file is half-written."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fclip.catalog.build import build_catalog
from fclip.catalog.config import DatasetConfig
from fclip.catalog.pin import SourcePin
from fclip.catalog.sources.registry import describe
from fclip.catalog.sources.sample import SampleSource
from fclip.catalog.tables import PRODUCTS, read_products
from fclip.errors import UserError
from fclip.files import read_json, sha256_tree
from fclip.images.packs import ImagePacks
from fclip.mirror.source_access import SourceAccess
from tests.fclip.catalog.catalog_shop import Built, Shop, ingest_config, jpeg

Build = Callable[..., Built]
ROLES = {"train": "train", "val": "select", "test": "report"}


def test_catalog_has_products_images_and_counts(full_shop: Shop, build: Build) -> None:
    built = build(full_shop.source(), roles=ROLES)
    assert built.refused == []
    assert [row["product_id"] for row in built.products] == sorted(f"p{index}" for index in range(60))
    first = built.products[0]
    assert first["group_id"] == "red coat no 0"
    assert first["attributes"] == [("colour", "red")]
    assert first["texts"] == [("title", "Red coat no 0")]
    assert ImagePacks([built.images]).read(first["images"][0]) == jpeg(0)
    counts = read_json(built.catalog / "ingest.json")
    assert counts == built.summary.to_json()
    assert counts["num_rows"] == counts["num_products"] == counts["num_images"] == sum(counts["splits"].values()) == 60
    assert read_products(built.catalog).schema.equals(PRODUCTS)


def test_same_source_gives_the_same_bytes(full_shop: Shop, build: Build) -> None:
    first = build(full_shop.source())
    digests = sha256_tree(first.catalog), sha256_tree(first.images)
    second = build(full_shop.source())
    assert (sha256_tree(second.catalog), sha256_tree(second.images)) == digests


def test_adding_products_moves_no_product_to_another_split(full_shop: Shop, build: Build) -> None:
    before = {row["product_id"]: row["split"] for row in build(full_shop.source()).products}
    rows = [f"p{index},Red coat no {index},red,{index}.jpg" for index in reversed(range(60))]
    (full_shop.images / "60.jpg").write_bytes(jpeg(60))
    full_shop.write_csv(["id,title,colour,image", "new,A new hat,blue,60.jpg", *rows])
    after = {row["product_id"]: row["split"] for row in build(full_shop.source()).products}
    assert {key: split for key, split in after.items() if key != "new"} == before


def test_bad_rows_are_quarantined_with_their_reasons(shop: Shop, build: Build) -> None:
    shop.write_images(12)
    (shop.images / "truncated.jpg").write_bytes(jpeg(1, side=200)[:600])
    (shop.images / "text.jpg").write_text("no image")
    (shop.images / "folder.jpg").mkdir()
    (shop.root / "outside.jpg").write_bytes(jpeg(99))
    (shop.images / "link.jpg").symlink_to(shop.root / "outside.jpg")
    shop.write_csv(
        [
            "\ufeffid,title,colour,image",  # 0 is the row after this
            "a,One coat,red,0.jpg",
            "a,Another,red,1.jpg",
            ",No id,red,2.jpg",
            "  ,Blank id,red,2.jpg",
            "b,No image cell,red,",
            "c,Missing,red,nowhere.jpg",
            "d,Truncated,red,truncated.jpg",
            "e,Text,red,text.jpg",
            "f,Folder,red,folder.jpg",
            "g,Up,red,../../outside.jpg",
            f"h,Absolute,red,{shop.root}/outside.jpg",
            "i,Link,red,link.jpg",
            "j,URL,red,https://example.org/a.jpg",
            "k,Too few",
            "l,Too many,red,3.jpg,more",
            b"m,caf\xe9,red,4.jpg",
            '"n","Quoted, with a comma","red","5.jpg"',
            "",
            "o,NUL in name,red,\0.jpg",
        ]
    )
    built = build(shop.source(), split={"train": 1.0})
    assert [row["product_id"] for row in built.products] == ["a", "n"]
    assert built.reasons == {
        1: "duplicate product_id",
        2: "empty product_id",
        3: "empty product_id",
        4: "no image",
        5: "image file missing",
        6: "truncated image",
        7: "unreadable image",
        8: "image file missing",
        9: "image outside the folder",
        10: "image outside the folder",
        11: "image outside the folder",
        12: "image is a URL",
        13: "wrong number of fields",
        14: "wrong number of fields",
        15: "broken encoding",
        17: "image outside the folder",
    }
    assert built.summary.num_rows == 18
    assert sum(built.summary.refused_by_reason.values()) == built.summary.num_refused == 16
    details = {row["source_row"]: row for row in built.refused}
    assert details[1]["detail"] == "same as in row 0"
    assert json.loads(details[5]["row"]) == {"id": "c", "title": "Missing", "colour": "red", "image": "nowhere.jpg"}
    assert details[15]["detail"] == r"title: 'caf\udce9'"
    assert (details[15]["stage"], details[6]["stage"], details[5]["stage"]) == ("validate", "decode", "read")


def test_image_of_train_is_in_no_other_split(full_shop: Shop, build: Build) -> None:
    clean = build(full_shop.source())
    split = {row["product_id"]: row["split"] for row in clean.products}
    train = next(index for index in range(60) if split[f"p{index}"] == "train")
    linked = [index for index in range(60) if split[f"p{index}"] != "train"][:3]
    for index in linked:
        (full_shop.images / f"{index}.jpg").write_bytes(jpeg(train))
    built = build(full_shop.source())
    assert built.reasons == dict.fromkeys(linked, "same image in train")
    assert built.summary.num_products == 57
    assert read_json(built.catalog / "ingest.json")["refused_by_reason"] == {"same image in train": 3}


def test_variants_of_one_parent_share_a_split(full_shop: Shop, build: Build) -> None:
    rows = [f"p{index},Coat {index},red,{index}.jpg,parent {index // 6}" for index in range(60)]
    full_shop.write_csv(["id,title,colour,image,style", *rows])
    built = build(full_shop.source(parent_id="style"))
    splits: dict[str, set[str]] = {}
    for row in built.products:
        splits.setdefault(row["group_id"], set()).add(row["split"])
    assert len(splits) == 10
    assert all(len(each) == 1 for each in splits.values())


@pytest.mark.parametrize("limit", [1, 7, 59, 60, 1000])
def test_limit_sets_the_number_of_rows(full_shop: Shop, build: Build, limit: int) -> None:
    assert build(full_shop.source(), limit=limit).summary.num_rows == min(limit, 60)


def test_empty_split_with_a_role_is_an_error(full_shop: Shop, build: Build, tmp_path: Path) -> None:
    split = {"train": 0.999999, "val": 0.000001}
    with pytest.raises(
        UserError, match=r"split `val` \(role select\) of `shop` is empty: .* 60 products are train 60 .*0.999"
    ):
        build(full_shop.source(), split=split, roles={"train": "train", "val": "select"})
    assert not any((tmp_path / "out").rglob("*"))


def test_source_without_good_rows_is_an_error(shop: Shop, build: Build, tmp_path: Path) -> None:
    shop.write_csv(["id,title,colour,image"])
    with pytest.raises(UserError, match="the source of `shop` has 0 rows"):
        build(shop.source())
    shop.write_csv(["id,title,colour,image", "a,A coat,red,a.jpg"])
    with pytest.raises(
        UserError,
        match=r"1 of 1 rows of `shop` were refused, 100.0%;(.|\n)*image file missing: 1, for example row 0: a.jpg",
    ):
        build(shop.source())
    assert not any((tmp_path / "out").rglob("*"))


def test_failed_ingest_keeps_the_earlier_catalog(full_shop: Shop, build: Build) -> None:
    built = build(full_shop.source())
    digests = sha256_tree(built.catalog), sha256_tree(built.images)
    full_shop.write_csv(["id,title,colour,image"])
    with pytest.raises(UserError):
        build(full_shop.source())
    assert (sha256_tree(built.catalog), sha256_tree(built.images)) == digests
    assert sorted(path.name for path in built.catalog.parent.iterdir()) == ["catalog", "images"]


@pytest.mark.parametrize("change", ["table", "image", "new image"])
def test_source_that_changed_since_it_was_pinned_is_refused(full_shop: Shop, tmp_path: Path, change: str) -> None:
    source = full_shop.source()
    config = DatasetConfig(source=source, split={"train": 1.0}, roles={})
    access = SourceAccess(tmp_path, tmp_path / "mirror")
    pin = SourcePin("shop", describe(source, access))

    def run(pin: SourcePin | None) -> None:
        out = tmp_path / "out"
        build_catalog(
            ingest_config(config),
            dataset="shop",
            access=access,
            pin=pin,
            catalog_dir=out / "catalog",
            images_dir=out / "images",
        )

    with pytest.raises(UserError, match="`shop` is not pinned; run `fclip pin`"):
        run(None)
    match change:
        case "table":
            full_shop.write_csv(["id,title,colour,image", "p0,Red coat,red,0.jpg"])
        case "image":
            (full_shop.images / "3.jpg").write_bytes(jpeg(3, side=32))
        case "new image":
            (full_shop.images / "new.jpg").write_bytes(jpeg(99))
    with pytest.raises(UserError, match=r"`shop` changed since it was pinned .*run `fclip pin`"):
        run(pin)
    assert not (tmp_path / "out").exists()


def test_sample_source_gives_the_generated_products(build: Build) -> None:
    source = SampleSource(kind="sample", domain="studio", num_products=24, seed=0)
    built = build(source)
    assert built.summary.num_products == 24
    assert {name for row in built.products for name, _ in row["texts"]} >= {"title", "highlights", "description"}
    assert len(ImagePacks([built.images])) == built.summary.num_images
    limited = build(source, limit=5)
    assert [row["product_id"] for row in limited.products] == [row["product_id"] for row in built.products[:5]]

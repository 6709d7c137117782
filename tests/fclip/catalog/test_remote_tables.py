"""Tables with remote images: building catalogs from them, and noticing changes since the pin."""

import json
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from fclip.catalog.build import build_catalog
from fclip.catalog.config import DatasetConfig
from fclip.catalog.descriptions import known_datasets
from fclip.catalog.pin import SourcePin
from fclip.catalog.sources.published import PublishedSource
from fclip.catalog.sources.registry import describe, read
from fclip.errors import UserError
from fclip.mirror.source_access import SourceAccess
from tests.fclip.catalog.catalog_shop import LOCAL, Built, Shop, ingest_config, jpeg
from tests.fclip.mirror.local_web import Page, Web

Build = Callable[..., Built]


@pytest.fixture
def online(shop: Shop, web: Web) -> Shop:
    """Forty products with image URLs."""
    for index in range(40):
        web.pages[f"/{index}.jpg"] = Page(jpeg(index), etag=f'"{index}"')
    rows = [f"p{index},Red coat no {index},red,{web.url(f'/{index}.jpg')}" for index in range(40)]
    shop.write_csv(["id,title,colour,image", *rows])
    return shop


def test_table_of_urls_is_read(online: Shop, build: Build, web: Web) -> None:
    built = build(online.source(image_folder=None))
    assert len(built.products) == 40
    assert built.summary.refused_by_reason == {}
    assert len(web.asked) == 40


def test_rows_with_unavailable_images_are_refused(shop: Shop, build: Build, web: Web) -> None:
    web.pages |= {
        "/a.jpg": Page(jpeg(1)),
        "/b.jpg": Page(jpeg(2)),
        "/html": Page(b"<html>", content_type="text/html"),
        "/no-image": Page(b"bytes"),
        "/down": Page(status=503),
        "/large": Page(b"", lie=2**40),
    }
    cells = [
        web.url("/a.jpg"),
        f"{web.url('/a.jpg')} {web.url('/b.jpg')}",
        f"{web.url('/b.jpg')} {web.url('/absent')}",
        web.url("/html"),
        web.url("/no-image"),
        web.url("/down"),
        web.url("/large"),
        "file:///etc/passwd",
        "s3://bucket/a.jpg",
        "a.jpg",
        "/etc/passwd",
        "",
        "http://" + "x" * 10_000,
    ]
    shop.write_csv(["id,title,colour,image", *(f"p{row},Coat,red,{cell}" for row, cell in enumerate(cells))])
    built = build(shop.source(image_folder=None, image_separator=" "), split={"train": 1.0})
    assert [row["product_id"] for row in built.products] == ["p0", "p1"]
    assert built.reasons == {
        2: "image URL not found",
        3: "image URL refused",
        4: "unreadable image",
        5: "image download failed",
        6: "image too large",
        7: "image URL refused",
        8: "image URL refused",
        9: "image is not a URL",
        10: "image is not a URL",
        11: "no image",
        12: "image URL refused",
    }
    assert sum(asked.path == "/a.jpg" for asked in web.asked) == 1


def test_url_in_a_table_with_an_image_folder_is_refused(full_shop: Shop, build: Build) -> None:
    full_shop.write_csv(["id,title,colour,image", "a,A coat,red,https://shop.example/0.jpg", "b,A hat,red,1.jpg"])
    built = build(full_shop.source(), split={"train": 1.0})
    assert built.reasons == {0: "image is a URL"}
    assert "set image_folder to null if cells are URLs" in built.refused[0]["detail"]


def test_limit_applies_to_downloads(online: Shop, build: Build, web: Web) -> None:
    built = build(online.source(image_folder=None), split={"train": 1.0}, limit=10)
    assert len(built.products) == 10 == len(web.asked)


@pytest.mark.parametrize("remote", ["table", "images", "both"])
def test_remote_table_gives_the_same_products_as_a_local_one(
    full_shop: Shop,
    build: Build,
    web: Web,
    remote: str,
) -> None:
    full_shop.write_csv(["id,title,colour,image", "a b,Coat,red,0.jpg", "b,Hat,red,no such.jpg", "c,Bag,red,../1.jpg"])
    from_files = build(full_shop.source(), split={"train": 1.0})
    for file in (*full_shop.images.iterdir(), full_shop.root / "shop" / "products.csv"):
        web.pages[f"/shop/{file.name}"] = Page(file.read_bytes(), content_type="")
    change = {"path": web.url("/shop/products.csv"), "image_folder": web.url("/shop/")}
    change = {key: value for key, value in change.items() if remote in ("both", "table" if key == "path" else "images")}
    from_web = build(full_shop.source(**change), split={"train": 1.0})
    assert from_web.products == from_files.products
    assert from_files.reasons == {1: "image file missing", 2: "image outside the folder"}
    missing = "image file missing" if remote == "table" else "image URL not found"
    assert from_web.reasons == {1: missing, 2: "image outside the folder"}


def test_table_and_images_in_a_bucket_are_read(full_shop: Shop, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    from_files = build(full_shop.source())
    fsspec.filesystem("memory").put(str(full_shop.root / "shop"), "/shop", recursive=True)
    remote = {"path": "memory://shop/products.csv", "image_folder": "memory://shop/images"}
    assert build(full_shop.source(**remote)).products == from_files.products
    with pytest.raises(UserError, match=r"table.parquet cannot be fetched: missing"):
        build(full_shop.source(path="memory://shop/table.parquet"))


def test_hub_files_in_a_bucket_are_read(shop: Shop, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.setattr(MemoryFileSystem, "store", {})
    folder = shop.root / "shop" / "hub"
    folder.mkdir()
    columns = {"id": ["a", "b"], "title": ["Coat", "Hat"], "colour": ["red"] * 2, "image": [jpeg(0), jpeg(1)]}
    pq.write_table(pa.table(columns), folder / "train.parquet")
    from_files = build(shop.hub(), split={"train": 1.0})
    fsspec.filesystem("memory").put(str(folder), "/hub", recursive=True)
    assert build(shop.hub(path="memory://hub"), split={"train": 1.0}).products == from_files.products
    assert build(shop.hub(path="memory://hub/train.parquet"), split={"train": 1.0}).products == from_files.products


def test_unsupported_scheme_is_an_error_that_names_the_key(shop: Shop) -> None:
    with pytest.raises(ValueError, match="path must be a path or a remote address: its scheme is not one of"):
        shop.source(path="ftp://shop.example/products.csv")
    with pytest.raises(ValueError, match="image_folder must be a path or a remote address: no host"):
        shop.source(image_folder="https:///images")


def run(online: Shop, pin: SourcePin, mirror: Path) -> Built:
    config = DatasetConfig(source=online.source(image_folder=None), split={"train": 1.0}, roles={})
    summary = build_catalog(
        ingest_config(config),
        dataset="shop",
        access=SourceAccess(online.root, mirror, LOCAL, refresh=False),
        pin=pin,
        catalog_dir=online.root / "out" / "catalog",
        images_dir=online.root / "out" / "images",
    )
    return Built(online.root, summary)


def test_new_mirror_is_fetched_again_and_compared_with_the_pin(
    online: Shop,
    web: Web,
    tmp_path: Path,
) -> None:
    pin = SourcePin("shop", describe(online.source(image_folder=None), online.access))
    web.forget()
    built = run(online, pin, online.access.mirror)
    assert not web.asked
    assert run(online, pin, tmp_path / "other").products == built.products
    assert len(web.asked) == 40
    web.pages["/3.jpg"] = Page(jpeg(300))
    assert run(online, pin, online.access.mirror).products == built.products  # the mirror is still as pinned
    with pytest.raises(UserError, match=r"`shop` changed since it was pinned \(images.bytes.*fclip pin"):
        run(online, pin, tmp_path / "a third")
    del web.pages["/3.jpg"]
    with pytest.raises(UserError, match=r"images.num_refused: 0 then, 1 now"):
        run(online, pin, tmp_path / "a fourth")


def test_reading_without_a_pin_fetches_each_image_once(online: Shop, web: Web) -> None:
    source = online.source(image_folder=None)
    rows = list(read(source, online.access, 5))
    assert len(rows) == 5 == len(web.asked)
    assert json.dumps(describe(source, online.access), sort_keys=True) == json.dumps(
        describe(source, online.access), sort_keys=True
    )


def test_published_dataset_in_a_bucket_is_read(shop: Shop, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    header = "id,gender,masterCategory,subCategory,articleType,baseColour,season,year,usage,productDisplayName"
    rows = [f"{index},Men,Apparel,Topwear,Shirts,Navy Blue,Fall,2011,Casual,Shirt no {index}" for index in range(8)]
    shop.write_csv([header, *rows], "styles.csv")
    shop.write_images(8)
    fsspec.filesystem("memory").put(str(shop.root / "shop"), "/kaggle", recursive=True)
    (name,) = [each for each in known_datasets() if "kaggle" in each]
    from_files = build(PublishedSource(kind="published", dataset=name, path="shop"), split={"train": 1.0})
    from_bucket = build(PublishedSource(kind="published", dataset=name, path="memory://kaggle"), split={"train": 1.0})
    assert len(from_files.products) == 8
    assert from_bucket.products == from_files.products

"""Hostile catalogs give a whole catalog with a reason for every refusal, or an error."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from fclip.catalog.sources.registry import SourceConfig, describe
from fclip.files import digest_bytes, read_json, sha256_tree, write_json
from tests.fclip.catalog.catalog_shop import Built, Shop, jpeg
from tests.fclip.catalog.hostile import NAMES, TEXTS, Catalog, catalogs, furnish, rows_of
from tests.fclip.catalog.hostile_images import hostile_images
from tests.fclip.catalog.hostile_shop import ingest, nothing_read_outside, within

# Without two that take a second each; test_hostile_images.py tests them.
IMAGES = {name: reason for name, (_, reason) in hostile_images().items() if "7000 x 7000" not in name}
PICTURES = [*IMAGES, "photo.jpg", "photo again.jpg", "two\nlines.jpg", "caf\udce9.jpg"]


@pytest.fixture(scope="module")
def hostile_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    shop = Shop(tmp_path_factory.mktemp("hostile"))
    furnish(shop)
    yield shop
    (shop.images / "sparse.jpg").unlink()  # the clean-up of pytest may copy it


def source_of(shop: Shop, catalog: Catalog) -> SourceConfig:
    mapping = {"parent_id": "parent", "parent_pattern": r"\d+$"}
    return shop.hub(**mapping) if catalog.form == "hub" else shop.source(catalog.name, **mapping)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(catalog=catalogs(PICTURES), cached=st.booleans())
def test_catalog_is_ingested_whole_or_refused_with_a_message(
    hostile_shop: Shop, catalog: Catalog, cached: bool
) -> None:
    catalog.write(hostile_shop.root / "shop")
    source = source_of(hostile_shop, catalog)
    cache = hostile_shop.root / "cache" if cached else None
    first = ingest(hostile_shop, source, cache_dir=cache)
    if isinstance(first, Built):
        assert first.summary.num_rows == len(catalog.rows)
        written = sha256_tree(first.catalog)
        event(f"{catalog.form} of {len(first.products)} products")
    again = ingest(hostile_shop, source, cache_dir=cache)
    if isinstance(first, Built):
        assert isinstance(again, Built)
        assert sha256_tree(again.catalog) == written
    else:
        assert str(again) == str(first)
        assert f"of {len(catalog.rows)} rows" in str(first) or "`image`" in str(first) or "UTF" in str(first)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "hub"])
def test_all_hostile_cells_in_one_catalog(hostile_shop: Shop, form: str) -> None:
    images = [*PICTURES, *NAMES, *(f"{number % 8}.jpg" for number in range(len(TEXTS)))]
    changes: list[dict[str, Any]] = [{"image": image} for image in images]
    for number, text in enumerate(TEXTS, len(images) - len(TEXTS)):
        changes[number] |= {"title": text, "colour": text}
    catalog = Catalog(form, rows_of(changes))
    catalog.write(hostile_shop.root / "shop")
    built = ingest(hostile_shop, source_of(hostile_shop, catalog))
    assert isinstance(built, Built)
    assert built.summary.num_rows == len(images)
    assert len(built.refused) > 80
    wanted = dict(enumerate(IMAGES.values()))
    leaks = {row["source_row"] for row in built.refused if row["stage"] == "split"}
    found = {number: None if number in leaks else built.reasons.get(number) for number in wanted}
    assert found == wanted


def test_names_that_lead_out_of_the_folder_are_refused(hostile_shop: Shop) -> None:
    outside = {
        *("../canary.jpg", "../../canary.jpg", "sub/../../canary.jpg", "a/../../b", "link out.jpg", "link to passwd"),
        *(
            "link to pipe",
            "link up/canary.jpg",
            "link up/../canary.jpg",
            "device.jpg",
            "/etc/passwd",
            "//etc/passwd",
            "/dev/zero",
        ),
        *("/proc/self/environ", "0.jpg\x00.png", "/", ".."),
    }
    valid = {"./0.jpg", "sub/../0.jpg", "link in.jpg", "link to sub/3.jpg", "caf\udce9.jpg", "round/round/0.jpg"}
    names = [name for name in NAMES if isinstance(name, str) and name.strip()]
    Catalog("jsonl", rows_of([{"image": name} for name in names])).write(hostile_shop.root / "shop")
    built = ingest(hostile_shop, hostile_shop.source("products.jsonl"))
    assert isinstance(built, Built)
    reasons = {name: built.reasons.get(number) for number, name in enumerate(names)}
    assert {name for name, reason in reasons.items() if reason == "image outside the folder"} == outside
    linked = {"same image in train", "same image in val", "same image in test", None}
    assert {name for name, reason in reasons.items() if reason in linked} == valid | {"0.jpg/", "0.jpg\n"}
    others = {reason for name, reason in reasons.items() if name not in outside} - linked
    assert others == {
        "image file missing",
        "image is a URL",
        "image too large",
    }  # the last one is the sparse file of a terabyte


def test_files_outside_the_folder_do_not_change_the_pin(hostile_shop: Shop) -> None:
    shop = hostile_shop
    Catalog("csv", rows_of([{}])).write(shop.root / "shop")
    with nothing_read_outside(shop.images, shop.root / "shop" / "products.csv"), within(10):
        pin = describe(shop.source(), shop.access)
    for canary in (shop.root / "shop" / "canary.jpg", shop.root / "outside" / "canary.jpg"):
        before = canary.read_bytes()
        canary.write_bytes(b"another")
        assert describe(shop.source(), shop.access) == pin
        canary.write_bytes(before)
    inside = shop.images / "sub" / "3.jpg"
    inside.write_bytes(jpeg(7000))
    assert describe(shop.source(), shop.access) != pin
    write_json(shop.root / "pin.json", pin)
    assert read_json(shop.root / "pin.json") == pin


def test_deeply_nested_folders_are_read(shop: Shop, build: Callable[..., Built]) -> None:
    shop.write_images(2)
    deepest = str(shop.images)
    for _ in range(1200):
        deepest += "/d"
        os.mkdir(deepest)  # noqa: PTH102
    try:
        Path(deepest, "a.jpg").write_bytes(jpeg(9))
        shop.write_csv(["id,title,colour,image", "a,A coat,red,0.jpg", f"b,A hat,red,{'d/' * 1200}a.jpg"])
        with within(20):
            assert len(build(shop.source()).products) == 2
            pin = describe(shop.source(), shop.access)
        assert pin["images"]["num_files"] == 3  # type: ignore[index]
    finally:
        Path(deepest, "a.jpg").unlink(missing_ok=True)
        while len(deepest) > len(str(shop.images)):  # rmtree fails at this depth
            os.rmdir(deepest)  # noqa: PTH106
            deepest = deepest[:-2]


@pytest.mark.parametrize("change", ["link out", "pipe", "gone", "folder", "other content", "link in"])
def test_file_replaced_between_two_ingests_is_noticed(shop: Shop, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    monkeypatch.setattr("fclip.files.SECONDS_TO_SETTLE", -1.0)
    shop.write_images(12)
    (shop.root / "canary.jpg").write_bytes(jpeg(99))
    shop.write_csv(["id,title,colour,image", *(f"p{number},Coat {number},red,{number}.jpg" for number in range(12))])
    cache = shop.root / "cache"
    first = ingest(shop, shop.source(), cache_dir=cache)
    assert isinstance(first, Built)
    assert first.refused == []
    path = shop.images / "3.jpg"
    path.unlink()
    match change:
        case "link out":
            path.symlink_to(shop.root / "canary.jpg")
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "other content":
            path.write_bytes(b"no image")
        case "link in":
            path.symlink_to("4.jpg")
    second = ingest(shop, shop.source(), cache_dir=cache)
    assert isinstance(second, Built)
    wanted = {"link out": "image outside the folder", "other content": "unreadable image", "link in": None}
    reason = second.reasons.get(3)
    if change == "link in":
        assert reason is None or reason.startswith("same image in")
    else:
        assert reason == wanted.get(change, "image file missing")
    kept = sha256_tree(second.catalog)
    shutil.rmtree(cache)
    fresh = ingest(shop, shop.source(), cache_dir=cache)
    assert isinstance(fresh, Built)
    assert sha256_tree(fresh.catalog) == kept
    assert digest_bytes(jpeg(99)) not in b"".join(path.read_bytes() for path in cache.rglob("*.parquet"))


def test_too_many_bad_rows_stop_the_ingest_with_reasons(hostile_shop: Shop) -> None:
    bad = [("", "0.jpg"), ("p1", "0.jpg"), ("a", "svg"), ("b", "eps"), ("c", "../canary.jpg"), ("d", "\x1b[2J.jpg")]
    changes = [{}] * 60 + [{"id": name, "image": image} for name, image in bad]
    Catalog("csv", rows_of(changes)).write(hostile_shop.root / "shop")
    cache = hostile_shop.root / "cache of few"
    error = str(ingest(hostile_shop, hostile_shop.source(), max_refused_fraction=0.09, cache_dir=cache))
    head, *reasons, tail = error.splitlines()
    assert head.startswith("6 of 66 rows of `shop` were refused, 9.1%; the limit is 9.0% (ingest.settings.rows.max_ref")
    counts = {reason.split(":")[0].strip(): int(reason.split(":")[1].split(",")[0]) for reason in reasons}
    assert counts == {
        "unreadable image": 2,
        "empty product_id": 1,
        "duplicate product_id": 1,
        "image outside the folder": 1,
        "image file missing": 1,
    }
    assert any(r"\x1b[2J.jpg is not in images/" in reason for reason in reasons)
    assert str(cache / "refused.parquet") in tail
    assert isinstance(ingest(hostile_shop, hostile_shop.source(), max_refused_fraction=0.1), Built)

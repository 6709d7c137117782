"""Sources: the rows that each kind reads, and its errors for missing or invalid files."""

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fclip.catalog.build import build_catalog
from fclip.catalog.config import DatasetConfig
from fclip.catalog.pin import SourcePin
from fclip.catalog.reading.delimited import read_delimited
from fclip.catalog.reading.records import cell_text
from fclip.catalog.rows import Refusal, sample_rows
from fclip.catalog.sources.clothing import ClothingSource
from fclip.catalog.sources.fmnist import CLASSES, FmnistSource
from fclip.catalog.sources.registry import describe, read
from fclip.catalog.summary import IngestSummary
from fclip.errors import UserError
from fclip.mirror.source_access import SourceAccess
from tests.fclip.catalog.catalog_shop import Built, Shop, ingest_config, jpeg

Build = Callable[..., Built]


@given(st.integers(0, 2000), st.integers(1, 300))
def test_sample_has_one_row_of_each_range(num_rows: int, limit: int) -> None:
    rows = sample_rows(num_rows, limit)
    if limit >= num_rows:
        assert rows is None
        return
    assert rows is not None
    assert sorted(row * limit // num_rows for row in rows) == pytest.approx(list(range(limit)), abs=1)
    assert len(rows) == limit
    assert max(rows) < num_rows


def test_sample_of_a_periodic_source_has_every_phase() -> None:
    rows = sample_rows(1200, 100)
    assert rows is not None
    assert {row % 12 for row in rows} == set(range(12))


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, None),
        (float("nan"), None),
        ("  ", None),
        (" a ", "a"),
        (2012, "2012"),
        (2012.0, "2012"),
        (0.5, "0.5"),
        (True, "True"),
        (["a", None, "b"], "a, b"),
        ([], None),
        ({"b": 1}, '{"b": 1}'),
        (b"caf\xc3\xa9", "café"),
    ],
)
def test_cells_are_converted_to_text(cell: object, text: str | None) -> None:
    assert cell_text(cell) == text


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter_is_detected(full_shop: Shop, build: Build, delimiter: str) -> None:
    rows = [delimiter.join(["id", "title", "colour", "image"]), delimiter.join(["p0", "A coat", "red", "0.jpg"])]
    full_shop.write_csv(rows)
    assert build(full_shop.source()).products[0]["texts"] == [("title", "A coat")]


def test_json_lines_and_parquet_give_the_same_products_as_csv(full_shop: Shop, build: Build) -> None:
    of_csv = build(full_shop.source()).products
    records = [
        {"id": f"p{index}", "title": f"Red coat no {index}", "colour": "red", "image": [f"{index}.jpg"]}
        for index in range(60)
    ]
    full_shop.write_csv([json.dumps(record) for record in records], "products.jsonl")
    pq.write_table(pa.Table.from_pylist(records), full_shop.root / "shop" / "products.parquet")
    assert build(full_shop.source("products.jsonl")).products == of_csv
    assert build(full_shop.source("products.parquet")).products == of_csv


def test_invalid_json_lines_are_refused(full_shop: Shop, build: Build) -> None:
    good = json.dumps({"id": "a", "title": "A coat", "colour": None, "image": "0.jpg"})
    full_shop.write_csv([good, "{half", "[1]", "", '{"id": "\\ud800", "image": "1.jpg"}'], "p.jsonl")
    built = build(full_shop.source("p.jsonl"))
    assert built.reasons == {1: "not JSON", 2: "not JSON", 3: "broken encoding"}
    assert built.products[0]["attributes"] == []


def test_image_separator_and_suffix_are_applied(full_shop: Shop, build: Build) -> None:
    full_shop.write_csv(["id,title,colour,image", "a,A coat,red,2|0|1", "b,A hat,red,3|missing"])
    built = build(full_shop.source(image_suffix=".jpg", image_separator="|"))
    assert len(built.products[0]["images"]) == 3
    assert built.reasons == {1: "image file missing"}


@pytest.mark.parametrize("name", ["products.csv", "products.jsonl", "products.parquet"])
def test_missing_mapped_column_is_an_error(full_shop: Shop, name: str) -> None:
    record = {"id": "a", "title": "A coat", "color": "red", "image": "0.jpg"}
    full_shop.write_csv([",".join(record), ",".join(record.values())])
    full_shop.write_csv([json.dumps(record)], "products.jsonl")
    pq.write_table(pa.Table.from_pylist([record]), full_shop.root / "shop" / "products.parquet")
    with pytest.raises(
        UserError, match=r"no column `colour` \(columns: `id`, `title`, `color`, `image`\); correct the mapping"
    ):
        list(read(full_shop.source(name), full_shop.access, None))


def test_missing_and_invalid_tables_are_errors(full_shop: Shop) -> None:
    def message(**change: Any) -> str:
        with pytest.raises(UserError) as caught:
            describe(full_shop.source(**change), full_shop.access)
        return str(caught.value)

    full_shop.write_csv([], "empty.csv")
    full_shop.write_csv(["id,id,title,colour,image"], "twice.csv")
    (full_shop.root / "shop" / "wide.csv").write_text("id,title,colour,image\n", encoding="utf-16")
    (full_shop.root / "shop" / "half.parquet").write_bytes(b"PAR1 and no more")
    assert "absent.csv does not exist" in message(name="absent.csv")
    assert "images is a folder, not a file" in message(path="shop/images")
    assert "nowhere does not exist" in message(image_folder="shop/nowhere")
    assert "products.csv is a file, not a folder" in message(image_folder="shop/products.csv")
    assert "empty.csv is empty" in message(name="empty.csv")
    assert "the column `id` twice" in message(name="twice.csv")
    assert "UTF-16; save it as UTF-8" in message(name="wide.csv")
    assert "half.parquet is not a Parquet file or is truncated" in message(name="half.parquet")
    (full_shop.root / "shop" / "products.xlsx").touch()
    assert "must end in .csv, .tsv, .jsonl or .parquet" in message(name="products.xlsx")


def write_hub(shop: Shop, *, as_struct: bool) -> None:
    folder = shop.root / "shop" / "hub" / "data"
    folder.mkdir(parents=True)
    for part in range(2):
        numbers = range(part * 40, part * 40 + 40)
        contents: list[Any] = [jpeg(number) for number in numbers]
        if as_struct:
            contents = [{"bytes": content, "path": "x.jpg"} for content in contents]
        columns: dict[str, Any] = {
            "id": list(numbers),
            "title": [None if number == 5 else f"Coat {number}" for number in numbers],
            "colour": pa.array(["red"] * 40).dictionary_encode(),
            "image": [None if number == 6 else content for number, content in zip(numbers, contents, strict=True)],
        }
        pq.write_table(pa.table(columns), folder / f"train-{part:05d}.parquet", row_group_size=7)


@pytest.mark.parametrize("as_struct", [True, False])
def test_hub_source_reads_all_files(shop: Shop, build: Build, as_struct: bool) -> None:
    write_hub(shop, as_struct=as_struct)
    built = build(shop.hub())
    assert built.reasons == {6: "no image"}
    assert len(built.products) == 79
    by_id = {row["product_id"]: row for row in built.products}
    assert by_id["5"]["texts"] == []
    assert by_id["79"]["attributes"] == [("colour", "red")]
    assert json.loads(built.refused[0]["row"]) == {"id": 6, "title": "Coat 6", "colour": "red"}
    limited = build(shop.hub(), limit=10)
    assert {row["product_id"]: row["images"] for row in limited.products}.items() <= {
        key: row["images"] for key, row in by_id.items()
    }.items()


def test_invalid_utf8_in_parquet_is_refused(shop: Shop, build: Build) -> None:
    folder = shop.root / "shop" / "hub"
    folder.mkdir()
    title = pa.array([b"caf\xe9", b"coat"]).view(pa.string())
    columns = {"id": ["a", "b"], "title": title, "colour": ["red", "red"], "image": [jpeg(0), jpeg(1)]}
    pq.write_table(pa.table(columns), folder / "data.parquet")
    built = build(shop.hub())
    assert built.reasons == {0: "broken encoding"}
    assert [row["product_id"] for row in built.products] == ["b"]


def test_invalid_hub_folders_are_errors(shop: Shop) -> None:
    with pytest.raises(UserError, match="hub does not exist"):
        describe(shop.hub(), shop.access)
    with pytest.raises(UserError, match=r"has no file \*.parquet"):
        describe(shop.hub(path="shop/images"), shop.access)
    write_hub(shop, as_struct=True)
    with pytest.raises(UserError, match="column `title` of shop/hub has the type string; images must be bytes"):
        list(read(shop.hub(image="title"), shop.access, None))


@pytest.mark.parametrize("limit", [None, 7])
def test_local_csv_is_parsed_once_per_ingest(
    full_shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int | None
) -> None:
    """The pin knows the rows of a table that is byte for byte the pinned one."""
    dataset = DatasetConfig(source=full_shop.source(), split={"train": 1.0}, roles={})
    access = replace(full_shop.access, limit=limit)
    pin = SourcePin("shop", describe(dataset.source, access))
    parsed: list[Path] = []

    def counted(path: Path, columns: Sequence[str]) -> Iterator[dict[str, object] | Refusal]:
        parsed.append(path)
        return read_delimited(path, columns)

    monkeypatch.setattr("fclip.catalog.reading.tables.read_delimited", counted)

    def build_from(pin: SourcePin) -> IngestSummary:
        return build_catalog(
            ingest_config(dataset, limit=limit),
            dataset="shop",
            access=access,
            pin=pin,
            catalog_dir=tmp_path / "catalog",
            images_dir=tmp_path / "images",
        )

    assert build_from(pin).num_rows == (limit or 60)
    assert len(parsed) == 1

    for num_rows in (59, 61):  # a pin with the right digest but another number of rows
        with pytest.raises(UserError, match=f"has 60 rows, but {num_rows} are pinned; run `fclip pin`"):
            build_from(SourcePin("shop", {**pin.facts, "num_rows": num_rows}))
    full_shop.write_csv(["id,title,colour,image", "p0,Red coat,red,0.jpg"])
    with pytest.raises(UserError, match=r"changed since it was pinned \(num_rows: 60 then, 1 now"):
        build_from(pin)


def test_clothing_source_groups_by_sender(shop: Shop, build: Build) -> None:
    shop.write_images(30)
    labels = ["T-Shirt", "Hat", "Skip"]
    rows = [f"{index},{index % 7},{labels[index % 3]},False" for index in range(30)]
    shop.write_csv(["image,sender_id,label,kids", *rows], "images.csv")
    source = ClothingSource(kind="clothing", path="shop", not_classes=["Skip"])
    built = build(source, split={"val": 0.5, "test": 0.5})
    assert built.summary.refused_by_reason == {"label is not a class": 10}
    assert {row["group_id"] for row in built.products} == {f"sender {index}" for index in range(7)}
    assert dict(built.products[0]["attributes"])["label"] in ("T-Shirt", "Hat")


def write_fmnist(folder: Path, num_train: int = 50, num_test: int = 20) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for part, count in (("train", num_train), ("t10k", num_test)):
        pictures = rng.integers(0, 256, (count, 28, 28), np.uint8)
        labels = rng.integers(0, 10, count, np.uint8)
        for name, array in ((f"{part}-images-idx3-ubyte.gz", pictures), (f"{part}-labels-idx1-ubyte.gz", labels)):
            header = (0x800 + array.ndim).to_bytes(4, "big") + b"".join(n.to_bytes(4, "big") for n in array.shape)
            (folder / name).write_bytes(gzip.compress(header + array.tobytes(), mtime=0))


def test_fmnist_source_samples_and_splits(tmp_path: Path, build: Build) -> None:
    write_fmnist(tmp_path / "fmnist")
    source = FmnistSource(kind="fmnist", path="fmnist", num_select=15)
    built = build(source, roles={"val": "select", "test": "report"})
    assert built.summary.splits == {"val": 15, "test": 20}
    assert {dict(row["attributes"])["label"] for row in built.products} <= set(CLASSES)
    ids = {row["product_id"] for row in built.products}
    more = FmnistSource(kind="fmnist", path="fmnist", num_select=30)
    assert ids < {row["product_id"] for row in build(more).products}
    limited = build(source, limit=14, roles={"val": "select", "test": "report"})
    assert limited.summary.splits == {"val": 6, "test": 8}
    assert build(FmnistSource(kind="fmnist", path="fmnist", num_select=None)).summary.num_rows == 70


def test_damaged_fmnist_is_an_error(tmp_path: Path) -> None:
    write_fmnist(tmp_path / "fmnist")
    source = FmnistSource(kind="fmnist", path="fmnist", num_select=15)
    path = tmp_path / "fmnist" / "t10k-images-idx3-ubyte.gz"
    content = path.read_bytes()
    for damaged in (content[:100], b"no gzip", gzip.compress(b"\0\0\x08\x01short")):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"t10k-images-idx3-ubyte.gz is damaged"):
            list(read(source, SourceAccess(tmp_path, tmp_path / "mirror"), None))
    path.unlink()
    with pytest.raises(UserError, match=r"t10k-images-idx3-ubyte.gz does not exist"):
        describe(source, SourceAccess(tmp_path, tmp_path / "mirror"))

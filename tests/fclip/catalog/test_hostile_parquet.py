"""Hostile Parquet files: unusual types, damage and links. A row is refused, or the error names the file."""

import os
import random
import struct
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fclip.catalog.reading.files import parquet_files
from fclip.catalog.sources.registry import describe, read
from fclip.errors import UserError
from tests.fclip.catalog.catalog_shop import Built, Shop, jpeg
from tests.fclip.catalog.hostile_shop import check_message, ingest, outcome, within


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    shop.write_images(8)
    return shop


def columns(**change: Any) -> pa.Table:
    return pa.table(
        {"id": ["p0", "p1"], "title": ["Coat", "Hat"], "colour": ["red"] * 2, "image": ["0.jpg", "1.jpg"], **change}
    )


def nested(levels: int) -> pa.Array:
    array = pa.array(["x", "y"])
    for _ in range(levels):
        array = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), array)
    return array


NO_UTF8 = pa.array([b"caf\xe9", b"x"]).view(pa.string())


@pytest.mark.parametrize(
    ("column", "refused"),
    [
        (pa.array([10**15, 0], pa.timestamp("s")), {"unreadable cell": 1}),
        (pa.array([2**31 - 1, 0], pa.int32()).cast(pa.date32()), {"unreadable cell": 1}),
        (pa.array([2**62, 0], pa.duration("s")), {"unreadable cell": 1}),
        (pa.array([1, 0], pa.timestamp("ns", "Europe/Berlin")), {}),
        (pa.array([[1], [10**15]], pa.list_(pa.timestamp("s"))), {"unreadable cell": 1}),
        (pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), NO_UTF8), {"unreadable cell": 1}),
        (pa.StructArray.from_arrays([NO_UTF8], ["a"]), {"unreadable cell": 1}),
        (NO_UTF8.dictionary_encode(), {"broken encoding": 1}),
        (NO_UTF8, {"broken encoding": 1}),
        (pa.array([b"caf\xe9", b"x"]), {"broken encoding": 1}),
        (pa.array(["a", None], pa.string_view()), {}),
        (pa.array([1.5, float("nan")], pa.float16()), {}),
        (pa.array([1, 2]).cast(pa.decimal128(38, 9)), {}),
        (pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())), {}),
        (pa.array([{"a": {"b": [1]}}, None]), {}),
        (pa.array([["x"] * 100_000, []]), {"text too long": 1}),
        (pa.array([b"0" * 16, b"1" * 16], pa.uuid()), {}),
        (pa.nulls(2), {}),
        (pa.array([True, None]), {}),
        (nested(20), {}),
    ],
)
def test_columns_of_every_type_are_read_or_refused(shop: Shop, column: pa.Array, refused: dict[str, int]) -> None:
    pq.write_table(columns(title=column), shop.root / "shop" / "products.parquet")
    built = ingest(shop, shop.source("products.parquet"))
    assert isinstance(built, Built), built
    assert dict(built.summary.refused_by_reason) == refused


@pytest.mark.parametrize("levels", [40, 800])
def test_deeply_nested_lists_are_refused(shop: Shop, levels: int) -> None:
    path = shop.root / "shop" / "products.parquet"
    pq.write_table(columns(title=nested(levels)), path, store_schema=False)
    with within(20):
        error = ingest(shop, shop.source("products.parquet"))
    assert "unreadable cell: 2, for example row 0: title: list<" in str(error)
    pq.write_table(columns(other=nested(levels)), path, store_schema=False)
    assert isinstance(ingest(shop, shop.source("products.parquet")), Built)


def test_invalid_parquet_files_are_errors(shop: Shop) -> None:
    path = shop.root / "shop" / "products.parquet"
    pq.write_table(columns(), path)
    whole = path.read_bytes()
    length = struct.unpack("<I", whole[-8:-4])[0]
    for content in (b"", b"PAR1", whole[:-1], whole[: len(whole) // 2], b"PAR2" + whole[4:-4] + b"PAR2", b"id,title"):
        assert "is not a Parquet file or is truncated" in str(outcome(shop, "products.parquet", content))
    for content in (
        whole[:4] + bytes(len(whole) - length - 12) + whole[-length - 8 :],
        whole.replace(b"Coat", b"\xff" * 4),
    ):
        result = outcome(shop, "products.parquet", content)
        assert result == {"broken encoding": 1} or "is damaged" in str(result)
    pq.write_table(columns().slice(0, 0), path)
    assert "has 0 rows" in str(ingest(shop, shop.source("products.parquet")))
    pq.write_table(
        pa.Table.from_arrays([*columns().columns, pa.array(["x", "y"])], [*columns().column_names, "id"]), path
    )
    assert "the column `id` twice" in str(ingest(shop, shop.source("products.parquet")))
    pq.write_table(columns(other=["x", "y"]), path)
    content = path.read_bytes().replace(b"other", b"oth\xff\xfe")
    assert "is not a Parquet file" in str(outcome(shop, "products.parquet", content))


def test_damaged_bytes_give_rows_or_an_error(shop: Shop) -> None:
    hub = shop.root / "shop" / "hub"
    hub.mkdir()
    table = pa.table({name: columns()[name] for name in ("id", "title", "colour")} | {"image": [jpeg(0), jpeg(1)]})
    pq.write_table(table, hub / "a.parquet", compression="zstd")
    whole = (hub / "a.parquet").read_bytes()
    num_errors = 0
    for seed in range(150):
        generator = random.Random(seed)
        content = bytearray(whole)
        for _ in range(generator.choice([1, 2, 5])):
            content[-1 - int(len(content) * generator.random() ** 3)] = generator.randrange(256)
        (hub / "a.parquet").write_bytes(content)
        try:
            describe(shop.hub(), shop.access)
            rows = list(read(shop.hub(), shop.access, None))
            assert len(rows) <= 2
        except UserError as error:
            check_message(str(error))
            num_errors += 1
    assert num_errors > 30


def test_links_out_of_a_parquet_folder_are_refused(shop: Shop) -> None:
    hub, blobs = shop.root / "shop" / "hub", shop.root / "shop" / "cache" / "blobs"
    snapshot = shop.root / "shop" / "cache" / "snapshots" / "0123"
    for folder in (hub / "data", blobs, snapshot):
        folder.mkdir(parents=True)
    pq.write_table(columns(), shop.root / "secret.parquet")
    pq.write_table(columns(), hub / "data" / "a.parquet")
    pq.write_table(columns(), blobs / "abcd")
    (hub / "loop").symlink_to(".")
    (hub / "b.parquet").symlink_to("data/a.parquet")
    (hub / "dangling.parquet").symlink_to("nowhere")
    (hub / "c.parquet").mkdir()
    os.mkfifo(hub / "d.parquet")
    with within(5):
        assert [path.name for path in parquet_files(hub, ["*.parquet"])] == ["b.parquet", "a.parquet"]
    (hub / "z.parquet").symlink_to(shop.root / "secret.parquet")
    with pytest.raises(UserError, match=r"z\.parquet is a link that leads out of .*hub; replace it by the file"):
        describe(shop.hub(), shop.access)
    (snapshot / "train.parquet").symlink_to("../../blobs/abcd")  # the layout of the hub's cache
    assert [path.name for path in parquet_files(snapshot, ["*.parquet"])] == ["train.parquet"]
    (snapshot / "train.parquet").unlink()
    (snapshot / "train.parquet").symlink_to(shop.root / "secret.parquet")
    with pytest.raises(UserError, match="leads out"):
        parquet_files(snapshot, ["*.parquet"])

"""Tables with several rows per product."""

import json
from collections.abc import Callable
from itertools import groupby

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fclip.catalog.reading.merged_rows import merge_rows
from fclip.catalog.rows import Refusal
from fclip.catalog.sources.registry import describe, read
from fclip.catalog.sources.table import TableSource
from tests.fclip.catalog.catalog_shop import Built, Shop

Build = Callable[..., Built]
ROWS = [
    {"id": "coat", "title": "A coat", "colour": None, "image": "0.jpg"},
    {"id": "coat", "title": None, "colour": "red", "image": "1.jpg"},
    {"id": "coat", "title": "Ignored", "colour": "blue", "image": "0.jpg"},
    {"id": "hat", "title": "A hat", "colour": "red", "image": "2.jpg"},
    {"id": "bag", "title": "A bag", "colour": None, "image": None},
    {"id": "bag", "title": None, "colour": None, "image": "3.jpg"},
]
cells = st.sampled_from([None, "", " ", "a", "b", "c"])
records = st.fixed_dictionaries({"id": cells, "title": cells, "image": cells})


def as_csv(rows: list[dict]) -> list[str]:
    return [",".join(rows[0]), *(",".join(cell or "" for cell in row.values()) for row in rows)]


@given(st.lists(st.one_of(records, st.just(Refusal("read", "broken")))))
def test_merging_is_grouping_by_id(rows: list[dict | Refusal]) -> None:
    merged = list(merge_rows(enumerate(rows), product_id="id", image_columns=["image"], separator=None))
    numbered = [(number, row) for number, row in enumerate(rows) if isinstance(row, dict)]
    groups = groupby(numbered, key=lambda item: item[1]["id"] if (item[1]["id"] or "").strip() else item[0])
    expected = []
    for _, group in groups:
        own = list(group)
        title = next((row["title"] for _, row in own if (row["title"] or "").strip()), None)
        images = list(dict.fromkeys(row["image"] for _, row in own if (row["image"] or "").strip()))
        expected.append((own[0][0], title, images))
    found = [(number, row["title"], row["image"]) for number, row in merged if isinstance(row, dict)]
    assert [(number, (title or "").strip() or None, images) for number, title, images in found] == expected
    refused = [number for number, row in merged if isinstance(row, Refusal)]
    assert refused == [number for number, row in enumerate(rows) if isinstance(row, Refusal)]


@pytest.mark.parametrize("name", ["products.csv", "products.jsonl", "products.parquet"])
def test_rows_of_one_product_are_merged(full_shop: Shop, build: Build, name: str) -> None:
    full_shop.write_csv(as_csv(ROWS))
    full_shop.write_csv([json.dumps(row) for row in ROWS], "products.jsonl")
    pq.write_table(pa.Table.from_pylist(ROWS), full_shop.root / "shop" / "products.parquet")
    built = build(full_shop.source(name, merge_rows=True))
    products = {row["product_id"]: row for row in built.products}
    assert {name: len(row["images"]) for name, row in products.items()} == {"coat": 2, "hat": 1, "bag": 1}
    assert products["coat"]["texts"] == [("title", "A coat")]
    assert products["coat"]["attributes"] == [("colour", "red")]
    assert built.summary.num_rows == 3
    assert not built.refused


def test_a_limit_counts_products(full_shop: Shop, build: Build) -> None:
    rows = [{**row, "id": f"{row['id']}{number}"} for number in range(10) for row in ROWS]
    full_shop.write_csv(as_csv(rows))
    source = full_shop.source(merge_rows=True)
    assert describe(source, full_shop.access)["num_rows"] == 30
    every = {row["product_id"]: row["images"] for row in build(source).products}
    some = {row["product_id"]: row["images"] for row in build(source, limit=9).products}
    assert len(some) == 9
    assert some.items() <= every.items()


def test_what_is_refused_is_the_whole_product_or_the_broken_row(full_shop: Shop, build: Build) -> None:
    """Rows are numbered as in the table; a broken row does not end its product."""
    full_shop.write_csv(
        [
            "id,title,colour,image",
            "coat,A coat,red,0.jpg",
            "coat,too,many,fields,here",
            "coat,,,1.jpg",
            "hat,A hat,red,2.jpg",
            "hat,,,missing.jpg",
            ",A bag,red,3.jpg",
            ",A sock,red,4.jpg",
            "coat,Again,red,5.jpg",
        ]
    )
    built = build(full_shop.source(merge_rows=True))
    assert built.reasons == {
        1: "wrong number of fields",
        3: "image file missing",
        5: "empty product_id",
        6: "empty product_id",
        7: "duplicate product_id",
    }
    assert [len(row["images"]) for row in built.products] == [2]
    assert built.summary.num_rows == 6


def test_several_image_columns(full_shop: Shop, build: Build) -> None:
    full_shop.write_csv(["id,title,colour,image,more", 'a,A coat,red,2.jpg,"0.jpg,1.jpg"', "b,A hat,red,3.jpg,"])
    source = full_shop.source(image=["image", "more"], image_separator=",")
    rows = list(read(source, full_shop.access, None))
    assert [[image.name for image in row.images] for row in rows] == [["2.jpg", "0.jpg", "1.jpg"], ["3.jpg"]]  # type: ignore[union-attr]
    assert len(build(source).products) == 2


def test_an_image_column_is_needed() -> None:
    with pytest.raises(ValueError, match="image must name a column"):
        TableSource(kind="table", path="a.csv", image_folder=None, product_id="id", image=[], texts={}, attributes={})

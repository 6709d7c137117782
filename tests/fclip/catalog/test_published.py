"""Published datasets read from a local copy of their files, and the errors for missing files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fclip.catalog.sources.hub import HubSource
from fclip.catalog.sources.published import PublishedSource, at_pin
from fclip.catalog.sources.registry import describe, read
from fclip.errors import UserError
from fclip.mirror.source_access import SourceAccess
from tests.conftest import dataset
from tests.fclip.catalog.catalog_shop import Built, jpeg

Build = Callable[..., Built]
STYLES = "id,gender,masterCategory,subCategory,articleType,baseColour,season,year,usage,productDisplayName"


def published(name: str, path: str | None = "copy", **change: Any) -> PublishedSource:
    return PublishedSource(kind="published", dataset=name, path=path, **change)


def write_parquet(path: Path, columns: dict[str, list[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    num_rows = len(next(iter(columns.values())))
    images = [{"bytes": jpeg(number), "path": None} for number in range(num_rows)]
    pq.write_table(pa.table({**columns, "image": images}), path)


def test_kaggle_styles_are_read_from_the_files_of_kaggle(tmp_path: Path, build: Build) -> None:
    (tmp_path / "copy" / "images").mkdir(parents=True)
    for number in range(3):
        (tmp_path / "copy" / "images" / f"{number}.jpg").write_bytes(jpeg(number))
    rows = [f"{number},Men,Apparel,Topwear,Tshirts,Navy Blue,Fall,2011,Casual" for number in range(4)]
    names = ["Nike Blue Tee", "Boss Men Perfume, After Shave", "Puma Black Tee", "Gone"]
    lines = [STYLES, *(f"{row},{name}" for row, name in zip(rows, names, strict=True))]
    (tmp_path / "copy" / "styles.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    built = build(published("kaggle-styles"), split={"train": 1.0})
    assert built.reasons == {1: "wrong number of fields", 3: "image file missing"}
    assert [row["product_id"] for row in built.products] == ["0", "2"]
    first = built.products[0]
    assert dict(first["texts"]) == {"title": "Nike Blue Tee"}
    assert dict(first["attributes"]) == {
        "gender": "Men",
        "category1": "Apparel",
        "category2": "Topwear",
        "category3": "Tshirts",
        "colour": "Navy Blue",
        "season": "Fall",
        "year": "2011",
        "usage": "Casual",
    }


def test_photographs_of_one_garment_are_one_group(tmp_path: Path, build: Build) -> None:
    ids = [f"WOMEN_Tees_id_0000000{garment}_0{colour}_1_front" for garment in (1, 2) for colour in (1, 2, 3)]
    columns = ("category1", "category2", "category3", "color", "description", "text")
    values = {"item_ID": ids, **{column: [f"{column} {row}" for row in range(6)] for column in columns}}
    write_parquet(tmp_path / "copy" / "data" / "data-00000-of-00001.parquet", values)
    built = build(published("marqo-deepfashion-inshop"), split={"train": 1.0})
    groups = {row["product_id"]: row["group_id"] for row in built.products}
    assert groups == {item_id: item_id[11:22] for item_id in ids}
    assert set(groups.values()) == {"id_00000001", "id_00000002"}


def test_only_matching_files_are_read(tmp_path: Path, build: Build) -> None:
    values = {"id": ["a", "b"], "title": ["A coat", "A hat"], "colour": ["red", "red"]}
    write_parquet(tmp_path / "copy" / "data" / "train-0.parquet", values)
    write_parquet(tmp_path / "copy" / "data" / "test-0.parquet", {**values, "id": ["c", "d"]})
    (tmp_path / "copy" / "README.md").touch()
    columns: dict[str, Any] = {"product_id": "id", "image": "image", "texts": {}, "attributes": {}}
    source = HubSource(kind="hub", path="copy", files=("data/train-*", "data/none-*"), **columns)
    assert {row["product_id"] for row in build(source, split={"train": 1.0}).products} == {"a", "b"}


def test_missing_files_are_errors(tmp_path: Path) -> None:
    def describe_and_read(source: PublishedSource) -> None:
        describe(source, SourceAccess(tmp_path, tmp_path / "mirror"))
        list(read(source, SourceAccess(tmp_path, tmp_path / "mirror"), None))

    def message(source: PublishedSource) -> str:
        with pytest.raises(UserError) as caught:
            describe_and_read(source)
        return str(caught.value)

    assert "unknown published dataset `kagl`; choose one of kaggle-styles, marqo-" in message(published("kagl"))
    assert "copy does not exist" in message(published("marqo-kagl"))
    (tmp_path / "copy").mkdir()
    assert f"{tmp_path / 'copy'} has no file *.parquet" in message(published("marqo-kagl"))
    assert "styles.csv does not exist" in message(published("kaggle-styles"))
    assert "is not on the hub; download it from https://www.kaggle.com/" in message(published("kaggle-styles", None))
    assert "set its `revision` to null" in message(published("kaggle-styles", revision="0" * 40))
    write_parquet(tmp_path / "copy" / "data-0.parquet", {"item_ID": [1], "text": ["A coat"], "categories": ["Coats"]})
    text = message(published("marqo-polyvore"))
    assert "data-0.parquet has no column `category` (columns: `item_ID`, `text`, `categories`, `image`)" in text


def test_revision_must_be_a_full_commit() -> None:
    with pytest.raises(ValueError, match="revision must be null or a whole commit"):
        published("marqo-kagl", None, revision="main")


def test_local_source_is_not_changed_by_a_pin() -> None:
    source = published("marqo-kagl")
    assert at_pin(source, {"revision": "0" * 40, "repo": "Marqo/KAGL", "files": []}) is source
    unpinned = published("marqo-kagl", None)
    assert at_pin(unpinned, {}) is unpinned


def test_kagl_equals_an_explicit_mapping(build: Build) -> None:
    """On the real data: all rows, and the catalog of a sample, are equal."""
    folder = str(dataset("kagl"))
    attributes = {
        "gender": "gender",
        "category1": "category1",
        "category2": "category2",
        "category3": "category3",
        "colour": "baseColour",
        "season": "season",
        "year": "year",
        "usage": "usage",
    }
    explicit = HubSource(
        kind="hub", path=folder, product_id="item_ID", image="image", texts={"title": "text"}, attributes=attributes
    )
    source = published("marqo-kagl", folder)
    access = SourceAccess(Path(), Path("unused"))
    rows = zip(*(read(each, access, None) for each in (source, explicit)), strict=True)
    assert sum(one == other for one, other in rows) == 40_001
    one, other = describe(source, access), describe(explicit, access)
    assert {**other, "kind": "published", "published": "marqo-kagl"} == one
    products = build(source, limit=300).products
    assert products == build(explicit, limit=300).products

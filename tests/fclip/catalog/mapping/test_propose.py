"""The proposed mapping of tables in known forms, and what stops it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fclip.catalog.mapping.find_images import folders_beside
from fclip.catalog.mapping.known_names import KNOWN_NAMES, name_key
from fclip.catalog.mapping.propose import ProposedMapping, propose_mapping
from fclip.catalog.mapping.table_sample import IdCounts, TableSample, count_ids, count_rows_by_id, read_sample
from fclip.errors import UserError
from tests.fclip.catalog.mapping.tables import (
    MERCHANT,
    URL,
    kaggle_styles,
    merchant_feed,
    own_table,
    shopify_export,
    write_images,
    write_table,
)


def propose(
    table: Path, *options: str, images: Path | None = None, remote: str | None = None, title: str | None = None
) -> ProposedMapping:
    """The mapping of a table on disk."""
    return propose_mapping(
        read_sample(table),
        table=str(table),
        count=partial(count_ids, table, title=title),
        folders=[images] if images else folders_beside(table),
        remote_images=remote,
        options=options,
    )


def of_rows(rows: Sequence[Mapping[str, object]], *options: str) -> ProposedMapping:
    """The mapping of a table in memory."""
    columns = tuple(dict.fromkeys(column for row in rows for column in row))

    def count(column: str) -> IdCounts:
        return count_rows_by_id((str(row.get(column) or "") or None, None) for row in rows)

    sample = TableSample(columns, tuple(rows), len(rows))
    return propose_mapping(sample, table="t.csv", count=count, folders=[], options=options)


def good_rows(num_rows: int = 20, **more: object) -> list[dict[str, object]]:
    return [{"id": f"p{n}", "title": f"Coat {n}", "image url": f"{URL}/{n}.jpg", **more} for n in range(num_rows)]


def test_shopifys_export(tmp_path: Path) -> None:
    mapping = propose(shopify_export(tmp_path), title="Title")
    assert (mapping.product_id, mapping.parent_id, mapping.merge_rows) == ("Handle", None, True)
    assert mapping.num_products == 40
    assert mapping.texts == {"title": "Title", "description": "Body (HTML)"}
    assert mapping.attributes == {
        "category": "Type",
        "colour": "Option1 Value",
        "brand": "Vendor",
        "price": "Variant Price",
    }
    assert mapping.types == {"price": "number"}
    assert (mapping.images.columns, mapping.images.folder) == (("Image Src",), None)
    assert mapping.label == "category"
    assert any("first variant" in note for note in mapping.notes)


def test_an_option_that_is_mostly_a_size_is_no_colour(tmp_path: Path) -> None:
    table = shopify_export(tmp_path)
    table.write_text(table.read_text().replace("Color", "Size"))
    assert "colour" not in propose(table, title="Title").attributes


def test_googles_feed(tmp_path: Path) -> None:
    mapping = propose(merchant_feed(tmp_path))
    assert (mapping.product_id, mapping.parent_id, mapping.merge_rows) == ("id", "item_group_id", False)
    assert mapping.images.columns == ("image_link", "additional_image_link")
    assert mapping.images.separator == ","
    assert mapping.attributes["category"] == "product_type"
    assert mapping.types is None  # 39.95 EUR is text
    assert {"link", "google_product_category", "availability"} <= set(mapping.ignored)


def test_googles_category_numbers_are_no_category(tmp_path: Path) -> None:
    table = merchant_feed(tmp_path)
    table.write_text(table.read_text().replace("product_type", "material").replace("google_product_category", "GPC"))
    table.write_text(table.read_text().replace("GPC", "google_product_category"))
    mapping = propose(table)
    assert "category" not in mapping.attributes
    assert mapping.label == "colour"


def test_kaggles_styles(tmp_path: Path) -> None:
    """The table has no column for the images: they are named by the id."""
    mapping = propose(kaggle_styles(tmp_path))
    assert mapping.images.columns == ("id",)
    assert (mapping.images.folder, mapping.images.suffix) == (str(tmp_path / "images"), ".jpg")
    assert mapping.images.num_found == mapping.images.num_rows == 40
    assert mapping.attributes == {"category": "articleType", "colour": "baseColour", "gender": "gender"}
    assert mapping.texts == {"title": "productDisplayName"}


@pytest.mark.parametrize("named", [True, False])
def test_files_without_suffix_several_in_a_cell(tmp_path: Path, named: bool) -> None:
    table = own_table(tmp_path)
    mapping = propose(table, images=tmp_path / "photos" if named else None)
    assert mapping.images.columns == ("Photo",)
    assert (mapping.images.suffix, mapping.images.separator) == (".png", "|")
    assert mapping.images.folder == str(tmp_path / "photos")
    assert mapping.types == {"price": "number"}


def test_paths_relative_to_the_tables_folder(tmp_path: Path) -> None:
    write_images(tmp_path / "img", ["1.jpg", "2.jpg", "3.jpg"])
    rows = [[number, f"Coat {number}", f"img/{number}.jpg"] for number in (1, 2, 3, 4)]
    images = propose(write_table(tmp_path / "t.csv", ["ID", "NAME", "File_Name"], rows)).images
    assert (images.folder, images.suffix, images.separator) == (str(tmp_path), "", None)
    assert (images.num_found, images.num_rows) == (3, 4)
    assert "img/4.jpg" in images.example


def test_a_remote_folder_is_not_asked(tmp_path: Path) -> None:
    images = propose(own_table(tmp_path), remote="s3://bucket/images").images
    assert (images.folder, images.num_found) == ("s3://bucket/images", None)


def test_variants_of_one_product(tmp_path: Path) -> None:
    """Rows with their own sku and a shared product id: the shared one is the parent."""
    rows = [[f"P{n // 3}", f"S{n}", f"Coat {n}", f"{URL}/{n}.jpg"] for n in range(12)]
    mapping = propose(write_table(tmp_path / "t.csv", ["product_id", "sku", "title", "image_url"], rows), title="title")
    assert (mapping.product_id, mapping.parent_id, mapping.merge_rows) == ("sku", "product_id", False)


def test_ids_that_do_not_identify_rows(tmp_path: Path) -> None:
    rows = [[f"P{n % 3}", f"Coat {n}", f"{URL}/{n}.jpg", n * n] for n in range(12)]
    table = write_table(tmp_path / "t.csv", ["sku", "title", "image_url", "number"], rows)
    with pytest.raises(UserError, match=r"(?s)`sku` does not identify the rows: 9 of 12 .*--map product_id=.*`number`"):
        propose(table, title="title")
    assert propose(table, "product_id=number", title="title").product_id == "number"


def test_consecutive_rows_with_other_titles_are_not_one_product(tmp_path: Path) -> None:
    rows = [[f"P{n // 2}", f"Coat {n}", f"{URL}/{n}.jpg"] for n in range(12)]
    table = write_table(tmp_path / "t.csv", ["sku", "title", "image_url"], rows)
    with pytest.raises(UserError, match="not consecutive rows with one title"):
        propose(table, title="title")


def test_few_repeated_ids_are_reported(tmp_path: Path) -> None:
    rows = [[f"P{0 if n == 90 else n}", f"Coat {n}", f"{URL}/{n}.jpg"] for n in range(100)]
    mapping = propose(write_table(tmp_path / "t.csv", ["sku", "title", "image_url"], rows), title="title")
    assert not mapping.merge_rows
    assert mapping.notes == ("Rows that repeat the `sku` of an earlier row: 1. The ingest refuses them.",)


@pytest.mark.parametrize(
    ("drop", "more", "message"),
    [
        ("id", {}, "no column has a usual name for the product id"),
        ("title", {}, "no caption can be made"),
        ("image url", {}, "no column has a usual name for the image"),
        (
            "",
            {"name": "Another"},
            "`title`, `name` could equally be the title: choose one with --map title=title, or none",
        ),
        ("", {"Colour": "red", "color": "blue"}, "could equally be the colour"),
        ("", {"image link": f"{URL}/x.jpg"}, "could equally be the image"),
    ],
)
def test_missing_and_ambiguous_columns(drop: str, more: dict[str, object], message: str) -> None:
    rows = [{name: cell for name, cell in row.items() if name != drop} for row in good_rows(**more)]
    with pytest.raises(UserError, match="no workspace is created") as raised:
        of_rows(rows)
    assert message in str(raised.value)
    assert "--map" in str(raised.value)


def test_all_faults_are_in_one_message() -> None:
    with pytest.raises(UserError) as raised:
        of_rows([{"a": f"x{n}", "b": "y"} for n in range(20)])
    assert len([line for line in str(raised.value).splitlines() if "--map" in line]) == 3


def test_equal_columns_are_not_ambiguous() -> None:
    rows = [{**row, "name": row["title"]} for row in good_rows()]
    assert of_rows(rows).texts == {"title": "title"}


def test_the_users_mapping_wins() -> None:
    rows = good_rows(name="Another", price=1, **{"My Material": "wool", "cat": "Coats"})
    mapping = of_rows(rows, "title=Name", "price=", "material=my material", "category=cat", "color=")
    assert mapping.texts == {"title": "name"}
    assert mapping.attributes == {"category": "cat", "material": "My Material"}
    assert {"price", "title"} <= set(mapping.ignored)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("title", "write --map NAME=COLUMN"),
        ("my title=title", "write --map NAME=COLUMN"),
        ("title=absent", "no column `absent`: it has `id`, `title`"),
        ("product_id=", "every product needs an id"),
        ("image=", "every product needs an image"),
    ],
)
def test_options_that_cannot_be(option: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        of_rows(good_rows(), option)


def test_images_inside_a_table() -> None:
    rows: list[dict[str, object]] = [{**row, "image": {"bytes": b"x", "path": None}} for row in good_rows()]
    with pytest.raises(UserError, match="has the images themselves"):
        of_rows(rows)


@given(st.permutations(MERCHANT))
def test_the_order_of_columns_does_not_matter(columns: Sequence[str]) -> None:
    row = dict.fromkeys(MERCHANT, "value") | {"google_product_category": "1"}
    rows = [
        {name: {**row, "id": f"{n}", "image_link": f"{URL}/{n}", "additional_image_link": ""}[name] for name in columns}
        for n in range(20)
    ]
    mapping = of_rows(rows)
    assert mapping.product_id == "id"
    assert mapping.attributes["category"] == "product_type"


SPELLINGS = st.sampled_from([str.upper, str.lower, str.title, lambda name: name.replace(" ", "_")])


@given(st.sampled_from([name for groups in KNOWN_NAMES.values() for group in groups for name in group]), SPELLINGS)
def test_case_and_underscores_do_not_matter(name: str, spelled: Callable[[str], str]) -> None:
    assert name_key(spelled(name)) == name_key(name) == name_key(f" {spelled(name).replace(' ', '')} ")


known = st.sampled_from([name for groups in KNOWN_NAMES.values() for group in groups for name in group])
headers = st.lists(known | st.text(max_size=5), min_size=1, max_size=8, unique=True)
cells = st.none() | st.sampled_from(["a", "b", "1", "2.5", f"{URL}/1.jpg", "x.jpg"]) | st.text(max_size=8) | st.floats()


@given(headers, st.data())
def test_any_table_gives_a_mapping_or_a_message(header: list[str], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.fixed_dictionaries(dict.fromkeys(header, cells)), min_size=1, max_size=6))
    try:
        mapping = of_rows(rows)
    except UserError:
        return
    assert {column for _, column in mapping.columns} <= set(header)
    assert not {column for _, column in mapping.columns} & set(mapping.ignored)
    described = [*mapping.texts.values(), *mapping.attributes.values()]
    assert len(described) == len(set(described))


def test_known_names_are_of_one_group() -> None:
    for name, groups in KNOWN_NAMES.items():
        for one, other in permutations(groups, 2):
            assert not set(map(name_key, one)) & set(map(name_key, other)), name


def test_files_come_before_urls(tmp_path: Path) -> None:
    write_images(tmp_path / "images", [f"{number}.jpg" for number in range(10)])
    rows = [[f"p{n}", f"Coat {n}", f"{n}.jpg" if n else "lost.jpg", f"{URL}/{n}.jpg"] for n in range(10)]
    images = propose(write_table(tmp_path / "t.csv", ["id", "title", "image", "image_url"], rows)).images
    assert (images.columns, images.folder) == (("image",), str(tmp_path / "images"))


def test_the_message_names_an_image_that_is_missing(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", ["id", "title", "image"], [[n, f"Coat {n}", f"{n}.jpg"] for n in range(10)])
    with pytest.raises(UserError, match=r"no sampled image of `image` is in .* \(`0.jpg is not in .*--images DIR"):
        propose(table)


def test_further_images_that_cannot_be_read_are_reported() -> None:
    rows = good_rows()
    rows[3]["additional image link"] = "no address"
    mapping = of_rows([{"additional image link": "", **row} for row in rows])
    assert mapping.images.columns == ("image url",)
    assert "additional image link" in mapping.ignored
    assert any("`additional image link` are not used" in note for note in mapping.notes)

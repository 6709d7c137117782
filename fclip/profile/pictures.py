"""Pictures of a catalog for its page: a contact sheet, examples of classes, the largest groups.

They are selected by digest, so that the same catalog shows the same pictures and a small change changes few of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fclip.pages.html import thumbnails
from fclip.pages.wording import counted
from fclip.profile.measure import ordered_splits

SHEET = 60
CLASSES, OF_A_CLASS = 12, 8
GROUPS, OF_A_GROUP = 20, 8
ROWS_AT_ONCE = 50_000


@dataclass(frozen=True)
class CatalogPicture:
    """A thumbnail as a data URI, and the title of its product."""

    source: str
    title: str


@dataclass(frozen=True)
class PictureRow:
    """A class or a group: its title, a note on its size, and example pictures."""

    title: str
    note: str
    pictures: tuple[CatalogPicture, ...]


@dataclass(frozen=True)
class PagePictures:
    """The pictures of a page; `groups` have more than one product."""

    sheet: tuple[CatalogPicture, ...]
    classes: tuple[PictureRow, ...]
    groups: tuple[PictureRow, ...]


def select_pictures(catalog_dir: Path, images_dir: Path, *, label: str | None) -> PagePictures:
    """Select the pictures of a dataset and make their thumbnails. Raise UserError if its images do not exist."""
    products = _read(catalog_dir / "products.parquet", label)
    sheet = _first(products, SHEET)
    classes = [] if label is None else _largest(products, "class", CLASSES)
    groups = [(key, num) for key, num in _largest(products, "group_id", GROUPS) if num > 1]
    of_class = {key: _first(_where(products, "class", key), OF_A_CLASS) for key, _ in classes}
    of_group = {key: _where(products, "group_id", key).sort_by("product_id") for key, _ in groups}
    of_group_first = {key: _distinct(table).slice(0, OF_A_GROUP) for key, table in of_group.items()}
    tables = [sheet, *of_class.values(), *of_group_first.values()]
    drawn = thumbnails(images_dir, {image for table in tables for image in table["image"].to_pylist()})
    return PagePictures(
        sheet=_drawn(sheet, drawn),
        classes=tuple(
            PictureRow(key, counted(num, "product"), _drawn(of_class[key], drawn)) for key, num in classes
        ),
        groups=tuple(
            PictureRow(table["title"][0].as_py(), _group_note(table), _drawn(of_group_first[key], drawn))
            for key, table in of_group.items()
        ),
    )  # fmt: skip


def _read(path: Path, label: str | None) -> pa.Table:
    """Return a table with one row per product: product_id, group_id, split, image (the primary one), class, title.

    The title is the title text, else the class, else the id.
    """
    batches = []
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(
            ROWS_AT_ONCE, columns=["product_id", "group_id", "split", "attributes", "texts", "images"]
        ):
            class_name = pc.map_lookup(batch["attributes"], label or "", "first")
            title = pc.coalesce(pc.map_lookup(batch["texts"], "title", "first"), class_name, batch["product_id"])
            columns = {name: batch[name] for name in ("product_id", "group_id", "split")}
            batches.append(
                pa.table({**columns, "image": pc.list_element(batch["images"], 0), "class": class_name, "title": title})
            )
    return pa.concat_tables(batches)


def _largest(products: pa.Table, column: str, num: int) -> list[tuple[str, int]]:
    counted = products.group_by(column).aggregate([([], "count_all")])
    counted = counted.filter(pc.is_valid(counted[column]))
    rows = counted.sort_by([("count_all", "descending"), (column, "ascending")]).slice(0, num).to_pylist()
    return [(row[column], row["count_all"]) for row in rows]


def _where(products: pa.Table, column: str, value: str) -> pa.Table:
    return products.filter(pc.equal(products[column], value))


def _first(products: pa.Table, num: int) -> pa.Table:
    """Return the `num` products whose images have the smallest digests."""
    return _distinct(products.sort_by([("image", "ascending"), ("product_id", "ascending")])).slice(0, num)


def _distinct(products: pa.Table) -> pa.Table:
    """Return the first product of each image, in the given order."""
    numbered = products.append_column("row", pa.array(range(products.num_rows), pa.int64()))
    rows = numbered.group_by("image").aggregate([("row", "min")])["row_min"]
    return products.take(rows.take(pc.sort_indices(rows)))


def _drawn(products: pa.Table, sources: Mapping[str, str]) -> tuple[CatalogPicture, ...]:
    images, titles = products["image"].to_pylist(), products["title"].to_pylist()
    return tuple(CatalogPicture(sources[image], title) for image, title in zip(images, titles, strict=True))


def _group_note(products: pa.Table) -> str:
    num_images = pc.count_distinct(products["image"]).as_py()
    splits = ", ".join(ordered_splits(dict.fromkeys(products["split"].to_pylist(), 0)))
    pictures = f", {counted(num_images, 'picture')}" if num_images != products.num_rows else ""
    return f"{counted(products.num_rows, 'product')} in {splits}{pictures}"

"""A user's table, with images in a folder or at URLs."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from itertools import islice
from pathlib import Path
from typing import Literal

from fclip.catalog.reading.files import (
    ImageFolder,
    describe_file,
    describe_folder,
    pinned_num_rows,
    require_file,
    require_folder,
)
from fclip.catalog.reading.merged_rows import Row, image_cells, merge_rows
from fclip.catalog.reading.records import cell_text, check_mapping, image_columns, mapped_columns, product_row
from fclip.catalog.reading.tables import read_table
from fclip.catalog.rows import Refusal, RefusedRow, SourceRow, sampled_rows
from fclip.catalog.sources.registry import SourceKind
from fclip.config import config
from fclip.mirror.addresses import address_below, address_fault, is_remote, web_fault
from fclip.mirror.source_access import SourceAccess, UnavailableImage

MAX_IMAGES = 256  # per product
ROWS_AT_ONCE = 256  # whose images are looked up and fetched together


@config
class TableSource:
    """A table (CSV, TSV, JSON Lines or Parquet), with the images in a folder or at URLs."""

    kind: Literal["table"]
    path: str
    """The table: .csv, .tsv, .jsonl or .parquet; a path relative to the workspace, or https://…, s3://… or gs://…."""
    image_folder: str | None = None
    """Folder with the images, local or https://…, s3://… or gs://…; null: the column `image` holds URLs."""
    product_id: str
    """Column with the unique id of each product."""
    image: str | list[str]
    """Column with the file name in `image_folder`, or the URL; or several columns, the one of the primary image first.
    A list, or a cell with a separator, gives several images."""
    texts: dict[str, str] = field(default_factory=dict)
    """Texts of a product: name -> column. Caption templates use the names."""
    attributes: dict[str, str] = field(default_factory=dict)
    """Attributes of a product: name -> column. Caption templates, protocols and slices use the names."""
    parent_id: str | None = None
    """Column with an id that variants of one product share; variants are put into the same split."""
    parent_pattern: str | None = None
    """Regular expression; the part of `parent_id` that it finds is the id that variants share. null: the whole cell."""
    image_suffix: str = ""
    """Text to add to each file name, such as ".jpg"."""
    image_separator: str | None = None
    """Separator of several file names or URLs in a cell, such as "|"; null: one per cell."""
    merge_rows: bool = False
    """Whether consecutive rows with the same product id are one product, as in exports with a row per variant or image.
    The product has the first non-empty cell of each column and all distinct images."""

    def __post_init__(self) -> None:
        check_mapping(self)
        if not self.image:
            raise ValueError("image must name a column, or a list of at least one")
        if self.image_separator == "":
            raise ValueError("image_separator must be null or at least one character")
        for name, address in (("path", self.path), ("image_folder", self.image_folder)):
            if address is not None and is_remote(address) and (fault := address_fault(address)):
                raise ValueError(f"{name} must be a path or a remote address: {fault}")


def describe(source: TableSource, access: SourceAccess) -> dict[str, object]:
    """Return the facts of the table and of its images: of the image folder, or of the images at their addresses."""
    path = require_file(access.file(source.path))
    table = describe_file(path)
    num_rows = _num_rows(source, path, pinned_num_rows(access.pinned, table))
    return {
        "kind": source.kind,
        "table": table,
        "num_rows": num_rows,
        "images": _describe_images(source, access, path, num_rows),
    }


def read(source: TableSource, access: SourceAccess, limit: int | None) -> Iterator[SourceRow | RefusedRow]:
    """Yield the rows of the table, or a sample of `limit` rows."""
    path = require_file(access.file(source.path))
    num_rows = pinned_num_rows(access.pinned)
    if num_rows is None and limit is not None:
        num_rows = _num_rows(source, path, None)
    folder = ImageFolder(_local_folder(source, access)) if _is_local(source) else None
    rows = (row for _, row in sampled_rows(_rows(source, path), num_rows, limit, path))
    while block := list(islice(rows, ROWS_AT_ONCE)):
        image_names = [_image_names(source, record) for _, record in block]
        all_names = [name for names in image_names if not isinstance(names, Refusal) for name in names]
        files = _image_files(source, access, folder, all_names)
        for (row, record), names in zip(block, image_names, strict=True):
            if isinstance(record, Refusal):
                yield RefusedRow(row, None, record)
                continue
            images = [names] if isinstance(names, Refusal) else [files[name] for name in names]
            yield product_row(source, row, record, images)


def _num_rows(source: TableSource, path: Path, pinned: int | None) -> int:
    """Return the number of rows, or of products if rows are merged. A pinned number saves parsing."""
    if path.suffix.lower() == ".parquet" and not source.merge_rows:
        from fclip.catalog.reading.parquet import count_rows

        return count_rows([path])
    return sum(1 for _ in _rows(source, path)) if pinned is None else pinned


def _rows(source: TableSource, path: Path) -> Iterator[Row]:
    """Return the numbered records of the table, with the rows of a product merged if `merge_rows` is set."""
    rows = enumerate(read_table(path, mapped_columns(source)))
    if not source.merge_rows:
        return rows
    return merge_rows(
        rows,
        product_id=source.product_id,
        image_columns=image_columns(source),
        separator=source.image_separator,
    )


def _image_names(source: TableSource, record: dict[str, object] | Refusal) -> list[str] | Refusal:
    """Return the names of a record's images, the primary one first; a refusal if there are too many."""
    if isinstance(record, Refusal):
        return record
    cells = [
        part for column in image_columns(source) for part in image_cells(record.get(column), source.image_separator)
    ]
    if len(cells) > MAX_IMAGES:
        return Refusal("read", "too many images", f"{len(cells)}, {MAX_IMAGES} at most")
    return [name + source.image_suffix for name in map(cell_text, cells) if name]


def _is_local(source: TableSource) -> bool:
    return source.image_folder is not None and not is_remote(source.image_folder)


def _local_folder(source: TableSource, access: SourceAccess) -> Path:
    assert source.image_folder is not None
    return require_folder(access.root / source.image_folder)


def _describe_images(source: TableSource, access: SourceAccess, path: Path, num_rows: int) -> dict[str, object]:
    """Return the facts of the images for the pin: of the folder, or of every address in the table."""
    if _is_local(source):
        return describe_folder(_local_folder(source, access), access.digests)
    rows = sampled_rows(_rows(source, path), num_rows, access.limit, path)
    found = (_image_names(source, record) for _, (_, record) in rows)
    names = (name for own_names in found if isinstance(own_names, list) for name in own_names)
    return access.images(_addresses(source, names)).describe()


def _image_files(
    source: TableSource, access: SourceAccess, folder: ImageFolder | None, names: Sequence[str]
) -> dict[str, Path | Refusal]:
    """Return the file of each image by its name, or why there is none. Remote images are fetched."""
    if folder is not None:
        return {name: folder(name) for name in names}
    images = access.images(_addresses(source, names))
    files: dict[str, Path | Refusal] = {}
    for name in names:
        address = _address(source, name)
        image = address if isinstance(address, Refusal) else images[address]
        files[name] = Refusal("read", image.reason, image.detail) if isinstance(image, UnavailableImage) else image
    return files


def _addresses(source: TableSource, names: Iterable[str]) -> Iterable[str]:
    return (address for name in names if isinstance(address := _address(source, name), str))


def _address(source: TableSource, name: str) -> str | Refusal:
    if source.image_folder is None:
        if fault := web_fault(name):
            reason = "image URL refused" if is_remote(name) else "image is not a URL"
            return Refusal("read", reason, f"{name:.500}: {fault}")
        return name
    if is_remote(name):
        return Refusal("read", "image is a URL", f"{name:.500}: set image_folder to null if cells are URLs")
    return address_below(source.image_folder, name) or Refusal("read", "image outside the folder", name[:500])


TABLE = SourceKind(
    kind="table",
    label="table + image folder",
    description="A table (CSV, TSV, JSON Lines or Parquet) with images in a folder or at URLs.",
    config=TableSource,
    describe=describe,
    read=read,
    path_fields=("path", "image_folder"),
)

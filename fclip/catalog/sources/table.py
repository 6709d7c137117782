"""A table of one's own, its images in a folder or at URLs."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

from fclip.catalog.reading.delimited import read_delimited
from fclip.catalog.reading.files import (
    ImageFolder,
    describe_file,
    describe_folder,
    pinned_rows,
    require_file,
    require_folder,
)
from fclip.catalog.reading.json_lines import read_json_lines
from fclip.catalog.reading.records import cell_text, check_mapping, mapped_columns, product_row
from fclip.catalog.rows import Refusal, RefusedRow, SourceRow, chosen_rows
from fclip.catalog.sources.registry import SourceKind
from fclip.config import config
from fclip.errors import UserError
from fclip.mirror.addresses import address_fault, address_in, is_remote, web_fault
from fclip.mirror.source_access import SourceAccess, Unavailable

MAX_IMAGES = 256  # of a product
ROWS_AT_ONCE = 256  # whose images are looked up, and fetched, together


@config
class TableSource:
    """A table of one's own (CSV, TSV, JSON Lines or Parquet), and its images: in a folder, or at URLs.

    `texts` and `attributes` map names of ours to columns of the table. A cell of the `image` column names a file in
    `image_folder`, without `image_suffix` if that is given, or several, primary first: as a list, or separated by
    `image_separator`. With `image_folder` null, cells are http and https URLs. `path` and `image_folder` may be
    remote: `s3://…`, `gs://…`, `https://…` (where a cell is then the rest of the URL). The mapping of columns is as
    `ColumnMapping` describes it.
    """

    kind: Literal["table"]
    path: str
    image_folder: str | None
    product_id: str
    image: str
    texts: dict[str, str]
    attributes: dict[str, str]
    parent_id: str | None = None
    parent_pattern: str | None = None
    image_suffix: str = ""
    image_separator: str | None = None

    def __post_init__(self) -> None:
        check_mapping(self)
        if self.image_separator == "":
            raise ValueError("image_separator must be null or at least one character")
        for name, address in (("path", self.path), ("image_folder", self.image_folder)):
            if address is not None and is_remote(address) and (fault := address_fault(address)):
                raise ValueError(f"{name} must be a path or a remote address: {fault}")


def describe(source: TableSource, outside: SourceAccess) -> dict[str, object]:
    """The table's digest and rows; the image folder's listing, or what the images' addresses give now."""
    path = require_file(outside.file(source.path))
    table = describe_file(path)
    num_rows = _num_rows(source, path, pinned_rows(outside.pinned, table))
    return {
        "kind": source.kind,
        "table": table,
        "num_rows": num_rows,
        "images": _describe_images(source, outside, path, num_rows),
    }


def read(source: TableSource, outside: SourceAccess, limit: int | None) -> Iterator[SourceRow | RefusedRow]:
    """The rows of the table, or a spread sample of `limit` of them."""
    path = require_file(outside.file(source.path))
    num_rows = pinned_rows(outside.pinned)
    if num_rows is None and limit is not None:
        num_rows = _num_rows(source, path, None)
    folder = ImageFolder(_local_folder(source, outside)) if _is_local(source) else None
    rows = chosen_rows(_records(source, path), num_rows, limit, path)
    while block := list(islice(rows, ROWS_AT_ONCE)):
        names = [_image_names(source, record) for _, record in block]
        found = _images(
            source, outside, folder, [name for own in names if not isinstance(own, Refusal) for name in own]
        )
        for (row, record), own in zip(block, names, strict=True):
            if isinstance(record, Refusal):
                yield RefusedRow(row, None, record)
                continue
            images = [own] if isinstance(own, Refusal) else [found[name] for name in own]
            yield product_row(source, row, record, images)


def _num_rows(source: TableSource, path: Path, pinned: int | None) -> int:
    """The records of the table; one whose number is pinned is not parsed for it."""
    if path.suffix.lower() == ".parquet":
        from fclip.catalog.reading.parquet import count_rows

        return count_rows([path])
    return sum(1 for _ in _records(source, path)) if pinned is None else pinned


def _records(source: TableSource, path: Path) -> Iterator[dict[str, object] | Refusal]:
    columns = mapped_columns(source)
    match path.suffix.lower():
        case ".csv" | ".tsv" | ".txt":
            yield from read_delimited(path, columns)
        case ".jsonl" | ".ndjson" | ".json":
            yield from read_json_lines(path, columns)
        case ".parquet":
            from fclip.catalog.reading.parquet import read_batches, records

            for _, batch in read_batches([path], columns, None):
                yield from records(batch, columns)
        case _:
            raise UserError(f"{path} must end in .csv, .tsv, .jsonl or .parquet: save the table as one of these")


def _image_names(source: TableSource, record: dict[str, object] | Refusal) -> list[str] | Refusal:
    """The names of a record's images, the primary one first; a refusal when there are too many."""
    if isinstance(record, Refusal):
        return record
    cell = record.get(source.image)
    cells: list[object]
    if isinstance(cell, list | tuple):
        cells = list(cell)
    elif isinstance(cell, str) and source.image_separator:
        cells = list(cell.split(source.image_separator))
    else:
        cells = [cell]
    if len(cells) > MAX_IMAGES:
        return Refusal("read", "too many images", f"{len(cells)}, {MAX_IMAGES} at most")
    return [name + source.image_suffix for name in map(cell_text, cells) if name]


def _is_local(source: TableSource) -> bool:
    return source.image_folder is not None and not is_remote(source.image_folder)


def _local_folder(source: TableSource, outside: SourceAccess) -> Path:
    assert source.image_folder is not None
    return require_folder(outside.root / source.image_folder)


def _describe_images(source: TableSource, outside: SourceAccess, path: Path, num_rows: int) -> dict[str, object]:
    """What a pin holds of the images: the folder's listing, or what every address in the table gives now."""
    if _is_local(source):
        return describe_folder(_local_folder(source, outside), outside.digests)
    records = chosen_rows(_records(source, path), num_rows, outside.limit, path)
    names = (name for _, record in records if isinstance(own := _image_names(source, record), list) for name in own)
    return outside.images(_addresses(source, names)).describe()


def _images(
    source: TableSource, outside: SourceAccess, folder: ImageFolder | None, names: Sequence[str]
) -> dict[str, Path | Refusal]:
    """The file that holds each image, by its name, or why there is none; what is remote is fetched."""
    if folder is not None:
        return {name: folder(name) for name in names}
    images = outside.images(_addresses(source, names))
    found: dict[str, Path | Refusal] = {}
    for name in names:
        address = _address(source, name)
        image = address if isinstance(address, Refusal) else images[address]
        found[name] = Refusal("read", image.reason, image.detail) if isinstance(image, Unavailable) else image
    return found


def _addresses(source: TableSource, names: Iterable[str]) -> Iterable[str]:
    return (address for name in names if isinstance(address := _address(source, name), str))


def _address(source: TableSource, name: str) -> str | Refusal:
    if source.image_folder is None:
        if fault := web_fault(name):
            reason = "image URL refused" if is_remote(name) else "image is no URL"
            return Refusal("read", reason, f"{name:.500}: {fault}")
        return name
    if is_remote(name):
        return Refusal("read", "image is a URL", f"{name:.500}: set image_folder to null where cells are URLs")
    return address_in(source.image_folder, name) or Refusal("read", "image outside the folder", name[:500])


TABLE = SourceKind(
    kind="table",
    label="table + image folder",
    description="A table of one's own (CSV, TSV, JSON Lines or Parquet), its images in a folder or at URLs.",
    config=TableSource,
    describe=describe,
    read=read,
    path_fields=("path", "image_folder"),
)

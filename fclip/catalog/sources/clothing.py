"""clothing-dataset: photographs that people took at home (github.com/alexeygrigorev/clothing-dataset)."""

from collections.abc import Iterator
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
from fclip.catalog.reading.records import cell_text, named_cells
from fclip.catalog.rows import Refusal, RefusedRow, SourceRow, chosen_rows
from fclip.catalog.sources.registry import SourceKind
from fclip.config import config
from fclip.mirror.source_access import SourceAccess

COLUMNS = ("image", "sender_id", "label", "kids")


@config
class ClothingSource:
    """clothing-dataset: `images.csv` and `images/`; rows with a label in `not_classes` are refused."""

    kind: Literal["clothing"]
    path: str
    not_classes: list[str]


def describe(source: ClothingSource, outside: SourceAccess) -> dict[str, object]:
    """The digest of `images.csv`, its rows, and the listing of `images/`."""
    path = require_file(outside.root / source.path / "images.csv")
    images = require_folder(outside.root / source.path / "images")
    table = describe_file(path)
    pinned = pinned_rows(outside.pinned, table)
    return {
        "kind": source.kind,
        "table": table,
        "num_rows": _num_rows(path) if pinned is None else pinned,
        "images": describe_folder(images, outside.digests),
    }


def read(source: ClothingSource, outside: SourceAccess, limit: int | None) -> Iterator[SourceRow | RefusedRow]:
    """One row a photograph, or a spread sample of `limit`; who sent it is its parent, so no sender is in two splits."""
    path = require_file(outside.root / source.path / "images.csv")
    folder = ImageFolder(require_folder(outside.root / source.path / "images"))
    num_rows = pinned_rows(outside.pinned)
    if num_rows is None and limit is not None:
        num_rows = _num_rows(path)
    for row, record in chosen_rows(read_delimited(path, COLUMNS), num_rows, limit, path):
        if isinstance(record, Refusal):
            yield RefusedRow(row, None, record)
            continue
        name, sender = cell_text(record["image"]), cell_text(record["sender_id"])
        if (label := cell_text(record["label"])) in source.not_classes:
            yield RefusedRow(row, name, Refusal("exclude", "label is no class", str(label)), record)
            continue
        yield SourceRow(
            source_row=row,
            product_id=name,
            parent_id=f"sender {sender}" if sender else None,
            attributes=named_cells(record, {"label": "label", "kids": "kids"}),
            texts={},
            images=(folder(f"{name}.jpg"),) if name else (),
            raw=record,
        )


def _num_rows(path: Path) -> int:
    return sum(1 for _ in read_delimited(path, COLUMNS))


CLOTHING = SourceKind(
    kind="clothing",
    label="clothing-dataset",
    description="clothing-dataset: photographs that people took at home, with one label each.",
    config=ClothingSource,
    describe=describe,
    read=read,
)

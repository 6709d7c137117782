"""clothing-dataset: photographs of clothes, taken at home (github.com/alexeygrigorev/clothing-dataset)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from fclip.catalog.reading.delimited import read_delimited
from fclip.catalog.reading.files import (
    ImageFolder,
    describe_file,
    describe_folder,
    pinned_num_rows,
    require_file,
    require_folder,
)
from fclip.catalog.reading.records import cell_text, named_cells
from fclip.catalog.rows import Refusal, RefusedRow, SourceRow, sampled_rows
from fclip.catalog.sources.registry import SourceKind
from fclip.config import config
from fclip.mirror.source_access import SourceAccess

COLUMNS = ("image", "sender_id", "label", "kids")


@config
class ClothingSource:
    """clothing-dataset: its `images.csv` and `images/`."""

    kind: Literal["clothing"]
    path: str
    """Folder with both."""
    not_classes: tuple[str, ...] = ("Not sure", "Other", "Skip")
    """Labels that are no class; rows with one of them are left out."""


def describe(source: ClothingSource, access: SourceAccess) -> dict[str, object]:
    """Return the digest of `images.csv`, the number of its rows, and the facts of the folder `images`."""
    path = require_file(access.root / source.path / "images.csv")
    images = require_folder(access.root / source.path / "images")
    table = describe_file(path)
    pinned = pinned_num_rows(access.pinned, table)
    return {
        "kind": source.kind,
        "table": table,
        "num_rows": _num_rows(path) if pinned is None else pinned,
        "images": describe_folder(images, access.digests),
    }


def read(source: ClothingSource, access: SourceAccess, limit: int | None) -> Iterator[SourceRow | RefusedRow]:
    """Yield one row per photograph, or a sample of `limit`. The parent is the sender: a sender is in one split."""
    path = require_file(access.root / source.path / "images.csv")
    folder = ImageFolder(require_folder(access.root / source.path / "images"))
    num_rows = pinned_num_rows(access.pinned)
    if num_rows is None and limit is not None:
        num_rows = _num_rows(path)
    for row, record in sampled_rows(read_delimited(path, COLUMNS), num_rows, limit, path):
        if isinstance(record, Refusal):
            yield RefusedRow(row, None, record)
            continue
        name, sender = cell_text(record["image"]), cell_text(record["sender_id"])
        if (label := cell_text(record["label"])) in source.not_classes:
            yield RefusedRow(row, name, Refusal("exclude", "label is not a class", str(label)), record)
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
    description="clothing-dataset: photographs of clothes, taken at home, with one label each.",
    config=ClothingSource,
    describe=describe,
    read=read,
)

"""clothing-dataset: photographs that people took at home (github.com/alexeygrigorev/clothing-dataset)."""

from collections.abc import Iterator

from fclip.catalog.config import ClothingSource
from fclip.catalog.rows import Refusal, RefusedRow, SourceRow
from fclip.catalog.sources.cells import cell_text, named_cells
from fclip.catalog.sources.delimited import read_delimited
from fclip.catalog.sources.files import ImageFolder, describe_file, describe_folder, require_file, require_folder
from fclip.catalog.sources.spread import spread_rows
from fclip.mirror.outside import Outside

COLUMNS = ("image", "sender_id", "label", "kids")


def describe(source: ClothingSource, outside: Outside) -> dict[str, object]:
    """The digest of `images.csv`, its rows, and the listing of `images/`."""
    path = require_file(outside.root / source.path / "images.csv")
    images = require_folder(outside.root / source.path / "images")
    return {
        "kind": source.kind,
        "table": describe_file(path),
        "num_rows": sum(1 for _ in read_delimited(path, COLUMNS)),
        "images": describe_folder(images, outside.digests),
    }


def read(source: ClothingSource, outside: Outside, limit: int | None) -> Iterator[SourceRow | RefusedRow]:
    """One row a photograph, or a spread sample of `limit`; who sent it is its parent, so no sender is in two splits."""
    path = require_file(outside.root / source.path / "images.csv")
    folder = ImageFolder(require_folder(outside.root / source.path / "images"))
    chosen = None
    if limit is not None:
        chosen = spread_rows(sum(1 for _ in read_delimited(path, COLUMNS)), limit)
    for row, record in enumerate(read_delimited(path, COLUMNS)):
        if chosen is not None and row not in chosen:
            continue
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

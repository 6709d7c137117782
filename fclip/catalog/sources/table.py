"""A table of one's own beside a folder of images."""

from collections.abc import Iterator
from pathlib import Path

from fclip.catalog.config import TableSource
from fclip.catalog.rows import Refusal, RefusedRow, SourceRow
from fclip.catalog.sources.cells import cell_text, named_cells
from fclip.catalog.sources.columns import mapped_columns, parent_of
from fclip.catalog.sources.delimited import read_delimited
from fclip.catalog.sources.files import describe_file, describe_folder, image_file, require_file, require_folder
from fclip.catalog.sources.json_lines import read_json_lines
from fclip.catalog.sources.parquet import column_values, read_batches
from fclip.catalog.sources.spread import spread_rows
from fclip.errors import UserError


def describe(source: TableSource, root: Path) -> dict[str, object]:
    """The table's digest and rows, the image folder's listing."""
    path = require_file(root / source.path)
    images = require_folder(root / source.image_folder)
    return {
        "kind": source.kind,
        "table": describe_file(path),
        "num_rows": _num_records(source, path),
        "images": describe_folder(images),
    }


def read(source: TableSource, root: Path, limit: int | None) -> Iterator[SourceRow | RefusedRow]:
    """The rows of the table, or a spread sample of `limit` of them."""
    path = require_file(root / source.path)
    folder = require_folder(root / source.image_folder).resolve()
    chosen = None if limit is None else spread_rows(_num_records(source, path), limit)
    for row, record in enumerate(_records(source, path)):
        if chosen is not None and row not in chosen:
            continue
        if isinstance(record, Refusal):
            yield RefusedRow(row, None, record)
            continue
        yield SourceRow(
            source_row=row,
            product_id=cell_text(record.get(source.product_id)),
            parent_id=parent_of(source, record),
            attributes=named_cells(record, source.attributes),
            texts=named_cells(record, source.texts),
            images=tuple(image_file(folder, name) for name in _image_names(source, record.get(source.image))),
            raw=record,
        )


def _image_names(source: TableSource, cell: object) -> list[str]:
    cells: list[object]
    if isinstance(cell, list | tuple):
        cells = list(cell)
    elif isinstance(cell, str) and source.image_separator:
        cells = list(cell.split(source.image_separator))
    else:
        cells = [cell]
    return [name + source.image_suffix for name in map(cell_text, cells) if name]


def _num_records(source: TableSource, path: Path) -> int:
    return sum(1 for _ in _records(source, path))


def _records(source: TableSource, path: Path) -> Iterator[dict[str, object] | Refusal]:
    columns = mapped_columns(source)
    match path.suffix.lower():
        case ".csv" | ".tsv" | ".txt":
            yield from read_delimited(path, columns)
        case ".jsonl" | ".ndjson" | ".json":
            yield from read_json_lines(path, columns)
        case ".parquet":
            for _, batch in read_batches([path], columns, None):
                cells = [column_values(batch.column(column)) for column in columns]
                for values in zip(*cells, strict=True):
                    yield dict(zip(columns, values, strict=True))
        case _:
            raise UserError(f"{path} must end in .csv, .tsv, .jsonl or .parquet: save the table as one of these")

"""A table of one's own, its images in a folder or at URLs."""

from collections.abc import Iterator
from pathlib import Path

from fclip.catalog.config import TableSource
from fclip.catalog.rows import Refusal, RefusedRow, SourceRow
from fclip.catalog.sources.cells import cell_text, named_cells
from fclip.catalog.sources.columns import mapped_columns, parent_of
from fclip.catalog.sources.delimited import read_delimited
from fclip.catalog.sources.files import describe_file, require_file
from fclip.catalog.sources.image_cells import describe_images, image_names, open_images
from fclip.catalog.sources.json_lines import read_json_lines
from fclip.catalog.sources.parquet import count_rows, read_batches, records
from fclip.catalog.sources.spread import spread_rows
from fclip.errors import UserError
from fclip.mirror.outside import Outside


def describe(source: TableSource, outside: Outside) -> dict[str, object]:
    """The table's digest and rows; the image folder's listing, or what the images' addresses give now."""
    path = require_file(outside.file(source.path))
    num_rows = _num_records(source, path)
    chosen = spread_rows(num_rows, outside.limit)
    return {
        "kind": source.kind,
        "table": describe_file(path),
        "num_rows": num_rows,
        "images": describe_images(source, outside, _names(source, path, chosen)),
    }


def read(source: TableSource, outside: Outside, limit: int | None) -> Iterator[SourceRow | RefusedRow]:
    """The rows of the table, or a spread sample of `limit` of them."""
    path = require_file(outside.file(source.path))
    chosen = None if limit is None else spread_rows(_num_records(source, path), limit)
    image = open_images(source, outside, _names(source, path, chosen))
    for row, record in _chosen(source, path, chosen):
        if isinstance(record, Refusal):
            yield RefusedRow(row, None, record)
            continue
        names = image_names(source, record.get(source.image))
        yield SourceRow(
            source_row=row,
            product_id=cell_text(record.get(source.product_id)),
            parent_id=parent_of(source, record),
            attributes=named_cells(record, source.attributes),
            texts=named_cells(record, source.texts),
            images=(names,) if isinstance(names, Refusal) else tuple(map(image, names)),
            raw=record,
        )


def _names(source: TableSource, path: Path, chosen: frozenset[int] | None) -> Iterator[str]:
    for _, record in _chosen(source, path, chosen):
        names = record if isinstance(record, Refusal) else image_names(source, record.get(source.image))
        if not isinstance(names, Refusal):
            yield from names


def _chosen(
    source: TableSource, path: Path, chosen: frozenset[int] | None
) -> Iterator[tuple[int, dict[str, object] | Refusal]]:
    for row, record in enumerate(_records(source, path)):
        if chosen is None or row in chosen:
            yield row, record


def _num_records(source: TableSource, path: Path) -> int:
    if path.suffix.lower() == ".parquet":
        return count_rows([path])
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
                yield from records(batch, columns)
        case _:
            raise UserError(f"{path} must end in .csv, .tsv, .jsonl or .parquet: save the table as one of these")

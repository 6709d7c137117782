"""Parquet files with embedded images, the format of datasets on the Hugging Face hub."""

from collections.abc import Iterator
from dataclasses import field
from typing import TYPE_CHECKING, Literal

from fclip.catalog.reading.files import describe_file, parquet_files
from fclip.catalog.reading.records import check_mapping, mapped_columns, product_row
from fclip.catalog.rows import Refusal, RefusedRow, SourceRow, sample_rows
from fclip.catalog.sources.registry import SourceKind
from fclip.config import config
from fclip.errors import UserError
from fclip.mirror.source_access import SourceAccess

if TYPE_CHECKING:
    import pyarrow as pa


@config
class HubSource:
    """A folder of Parquet files as on the Hugging Face hub, with the images inside."""

    kind: Literal["hub"]
    path: str
    """Folder with the files, or a remote address."""
    product_id: str
    """Column with the unique id of each product."""
    image: str
    """Column with the images, as bytes or as a struct with the field `bytes`."""
    texts: dict[str, str] = field(default_factory=dict)
    """Texts of a product: name -> column. Caption templates use the names."""
    attributes: dict[str, str] = field(default_factory=dict)
    """Attributes of a product: name -> column. Caption templates, protocols and slices use the names."""
    parent_id: str | None = None
    """Column with an id that variants of one product share; variants are put into the same split."""
    parent_pattern: str | None = None
    """Regular expression; the part of `parent_id` that it finds is the id that variants share. null: the whole cell."""
    files: tuple[str, ...] = ("*.parquet",)
    """Patterns of the files to read, relative to `path`; `*` also matches slashes. Files are read in order of path."""

    def __post_init__(self) -> None:
        check_mapping(self)
        if not self.files:
            raise ValueError("files must have at least one pattern")


def describe(source: HubSource, access: SourceAccess) -> dict[str, object]:
    """Return the content digests of the Parquet files and the number of their rows."""
    from fclip.catalog.reading.parquet import count_rows

    files = parquet_files(access.folder(source.path, patterns=source.files), source.files)
    return {"kind": source.kind, "files": [describe_file(file) for file in files], "num_rows": count_rows(files)}


def read(source: HubSource, access: SourceAccess, limit: int | None) -> Iterator[SourceRow | RefusedRow]:
    """Yield the rows of all files in the order of their names, or a sample of `limit` rows."""
    from fclip.catalog.reading.parquet import count_rows, read_batches, records

    files = parquet_files(access.folder(source.path, patterns=source.files), source.files)
    selected = None if limit is None else sample_rows(count_rows(files), limit)
    columns = mapped_columns(source)
    table_columns = [column for column in columns if column != source.image]
    for rows, batch in read_batches(files, columns, selected):
        images = _image_bytes(source, batch.column(source.image))
        for row, image, record in zip(rows, images, records(batch, table_columns), strict=True):
            if isinstance(record, Refusal):
                yield RefusedRow(row, None, record)
                continue
            yield product_row(source, row, record, [] if image is None else [image])


def _image_bytes(source: HubSource, column: "pa.Array") -> list[bytes | None]:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        column = pc.struct_field(column, "bytes")
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        raise UserError(
            f"column `{source.image}` of {source.path} has the type {kind}; images must be bytes "
            "or a struct with a field `bytes`; correct `image` in params.yaml"
        )
    return list(column.to_pylist())


HUB = SourceKind(
    kind="hub",
    label="Parquet with images",
    description="A folder of Parquet files with embedded images, the format of datasets on the Hugging Face hub.",
    config=HubSource,
    describe=describe,
    read=read,
)

"""Read Parquet files batch by batch."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fclip.catalog.reading.records import is_deep, require_columns
from fclip.catalog.rows import Refusal
from fclip.errors import UserError

BATCH_ROWS = 256


def count_rows(files: Sequence[Path]) -> int:
    """Return the number of rows of all files, from their footers."""
    return sum(_open(file).metadata.num_rows for file in files)


def column_names(path: Path) -> list[str]:
    """The names of a file's columns, in order; raises UserError when it is no Parquet."""
    return list(_open(path).schema_arrow.names)


def read_batches(
    files: Sequence[Path], columns: Sequence[str], selected: frozenset[int] | None
) -> Iterator[tuple[list[int], pa.RecordBatch]]:
    """Yield batches of `columns`, each with the numbers of its rows, counted over all files.

    Args:
        selected: the numbers of the rows to read; None for all.

    Raises:
        UserError: a file is not a Parquet file or lacks a column; the message names the file.
    """
    opened = [_open(file) for file in files]
    for path, file in zip(files, opened, strict=True):
        require_columns(path, columns, file.schema_arrow.names)
    first = 0
    for path, file in zip(files, opened, strict=True):
        try:
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=list(columns)):
                rows = list(range(first, first + batch.num_rows))
                first += batch.num_rows
                if selected is not None:
                    rows = [row for row in rows if row in selected]
                    if not rows:
                        continue
                    batch = batch.take(pa.array([row - first + batch.num_rows for row in rows], pa.int64()))
                yield rows, batch
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path} is damaged ({error}); fetch it again") from error


def records(batch: pa.RecordBatch, columns: Sequence[str]) -> Iterator[dict[str, object] | Refusal]:
    """Yield the rows of a batch, or why a row cannot be read: a cell has no Python value."""
    cells = [column_values(batch.column(column)) for column in columns]
    faulty = [index for index, column in enumerate(cells) if any(isinstance(cell, Refusal) for cell in column)]
    for values in zip(*cells, strict=True):
        bad = [(columns[index], values[index]) for index in faulty if isinstance(values[index], Refusal)]
        if bad:
            column, refusal = bad[0]
            yield Refusal(refusal.stage, refusal.reason, f"{column}: {refusal.detail}")
        else:
            yield dict(zip(columns, values, strict=True))


def column_values(array: pa.Array) -> list[object]:
    """Return a column as Python values; a cell without a Python value gives a Refusal.

    In strings that are not UTF-8, bad bytes become lone surrogates.
    """
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        binary = array.cast(pa.large_binary())
        return [None if cell is None else cell.decode("utf-8", "surrogateescape") for cell in binary.to_pylist()]
    if pa.types.is_nested(array.type):
        return [_value(cell) for cell in array]
    try:
        return list(array.to_pylist())
    except (ValueError, ArithmeticError, LookupError, pa.ArrowException):
        return [_value(cell) for cell in array]


def _value(cell: pa.Scalar) -> object:
    try:
        value = cell.as_py()
    except (
        ValueError,
        ArithmeticError,
        LookupError,
        pa.ArrowException,
    ) as error:  # for example the year 300000, or invalid UTF-8 in a list
        return Refusal("read", "unreadable cell", f"{cell.type}: {error}")
    return Refusal("read", "unreadable cell", f"{cell.type!s:.100}: nested too deep") if is_deep(value) else value


def _open(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path, pre_buffer=False)  # pre-buffering keeps every read row group in memory
        list(file.schema_arrow.names)
        return file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # a column name is not UTF-8
        raise UserError(f"{path} is not a Parquet file or is truncated ({error}); fetch it again") from error

"""Parquet files, batch by batch."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fclip.catalog.sources.columns import require_columns
from fclip.errors import UserError

BATCH_ROWS = 256


def parquet_files(path: Path, patterns: Sequence[str]) -> list[Path]:
    """The file `path`, or every file under the folder whose path below it fits a pattern, sorted.

    Raises:
        UserError: there is none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path} does not exist: put the Parquet files there, or mend its `path` in params.yaml")
    files = sorted(
        file
        for file in path.rglob("*")
        if fits(file.relative_to(path).as_posix(), patterns) and file.is_file() and not file.name.startswith(".")
    )
    if not files:
        wanted = " or ".join(patterns)
        raise UserError(f"{path} holds no file {wanted}: put them there, or mend its `path` in params.yaml")
    return files


def fits(name: str, patterns: Sequence[str]) -> bool:
    """Whether a file's path fits one of the patterns, as the hub reads them: `*` fits slashes too, case counts."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def count_rows(files: Sequence[Path]) -> int:
    """Rows of all files, from their footers."""
    return sum(_open(file).metadata.num_rows for file in files)


def read_batches(
    files: Sequence[Path], columns: Sequence[str], chosen: frozenset[int] | None
) -> Iterator[tuple[list[int], pa.RecordBatch]]:
    """Batches of `columns`, with the number of each row among the rows of all files; `chosen` rows, None for all.

    Raises:
        UserError: a file is no Parquet or lacks a column; its message names the file.
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
                if chosen is not None:
                    rows = [row for row in rows if row in chosen]
                    if not rows:
                        continue
                    batch = batch.take(pa.array([row - first + batch.num_rows for row in rows], pa.int64()))
                yield rows, batch
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path} is damaged ({error}): fetch it again") from error


def column_values(array: pa.Array) -> list[object]:
    """A column as Python values; strings that are no UTF-8 have lone surrogates in place of the bad bytes."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        binary = array.cast(pa.large_binary())
        return [None if cell is None else cell.decode("utf-8", "surrogateescape") for cell in binary.to_pylist()]
    return list(array.to_pylist())


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} is no Parquet file, or half of one ({error}): fetch it again") from error

"""The records of a table, whatever its format."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from fclip.catalog.reading.delimited import delimited_columns, read_delimited
from fclip.catalog.reading.files import require_file
from fclip.catalog.reading.json_lines import json_lines_columns, read_json_lines
from fclip.catalog.rows import Refusal
from fclip.errors import UserError

DELIMITED = (".csv", ".tsv", ".txt")
JSON_LINES = (".jsonl", ".ndjson", ".json")


def read_table(path: Path, columns: Sequence[str]) -> Iterator[dict[str, object] | Refusal]:
    """Yield the cells of `columns` of each record, or why a record cannot be read.

    Raises:
        UserError: no file, an unknown format, a damaged file, or a column that the table does not have once.
    """
    match path.suffix.lower():
        case suffix if suffix in DELIMITED:
            yield from read_delimited(path, columns)
        case suffix if suffix in JSON_LINES:
            yield from read_json_lines(path, columns)
        case ".parquet":
            from fclip.catalog.reading.parquet import read_batches, records

            for _, batch in read_batches([path], columns, None):
                yield from records(batch, columns)
        case _:
            raise _unknown(path)


def table_columns(path: Path) -> list[str]:
    """The table's column names in its order, names that occur twice included; of JSON Lines the keys of all records.

    Raises:
        UserError: no file, an unknown format, a damaged file or no header.
    """
    match require_file(path).suffix.lower():
        case suffix if suffix in DELIMITED:
            return delimited_columns(path)
        case suffix if suffix in JSON_LINES:
            return json_lines_columns(path)
        case ".parquet":
            from fclip.catalog.reading.parquet import column_names

            return column_names(path)
        case _:
            raise _unknown(path)


def _unknown(path: Path) -> UserError:
    return UserError(f"{path} must end in .csv, .tsv, .jsonl or .parquet: save the table as one of these")

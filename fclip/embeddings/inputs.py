"""What a user gives to embed or classify: a folder of images, a table, or a file with a text on each line."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from fclip.errors import UserError

Kind: TypeAlias = Literal["image", "text"]
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
COLUMNS: Mapping[Kind, tuple[str, ...]] = {
    "image": ("image", "image_path", "path", "file", "filename", "images"),
    "text": ("text", "caption", "title", "query"),
}
IDS = ("id", "product_id", "sku", "item_id")
MAX_FIELD = 10_000_000  # characters of a CSV cell; Python's limit is 131,072


@dataclass(frozen=True)
class InputRows:
    """Images or texts with an id each.

    Attributes:
        values: paths or contents of image files, or texts; None where a row has no value.
    """

    kind: Kind
    ids: tuple[str, ...]
    values: tuple[Path | bytes | str | None, ...]


def read_inputs(path: Path, *, column: str | None = None, kind: Kind | None = None) -> InputRows:
    """Read images or texts.

    Args:
        path: a folder of images, searched with its subfolders; a .csv, .jsonl or .parquet table with a column of image
            paths (relative to the table), image contents (Parquet) or texts; or a .txt file with a text on each line.
        column: the column of a table; None to take the first known name of an image column, else of a text column.
        kind: what the column contains; None: images if its name is one of a known image column.

    Raises:
        UserError: the path does not exist, is empty or damaged, or has no such column.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())
        if not files:
            raise UserError(f"{path} contains no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
        return InputRows("image", tuple(file.relative_to(path).as_posix() for file in files), tuple(files))
    if not path.is_file():
        raise UserError(f"{path} does not exist; name a folder of images, a table, or a .txt file with texts")
    if path.suffix.lower() == ".txt":
        lines = _decode(path).splitlines()
        if not lines:
            raise UserError(f"{path} is empty")
        return InputRows("text", tuple(str(number) for number in range(1, len(lines) + 1)), tuple(lines))
    return _from_table(path, column, kind)


def _from_table(path: Path, column: str | None, kind: Kind | None) -> InputRows:
    columns = _read_table(path)
    chosen = column or _first(columns, [*COLUMNS["image"], *COLUMNS["text"]] if kind is None else COLUMNS[kind])
    if chosen is None or chosen not in columns:
        wanted = f"no column {column}" if column else "no column of images or texts that is known"
        raise UserError(f"{path} has {wanted}; name one with --column: {', '.join(columns)}")
    found_kind: Kind = kind or ("image" if chosen.lower() in COLUMNS["image"] else "text")
    raw = columns[chosen]
    if not raw:
        raise UserError(f"{path} has no rows")
    if kind is None and any(isinstance(value, bytes) for value in raw):
        found_kind = "image"
    ids = columns.get(_first(columns, IDS) or "", range(1, len(raw) + 1))
    values = tuple(_value(value, found_kind, path.parent) for value in raw)
    return InputRows(found_kind, tuple(str(each) for each in ids), values)


def _value(value: Any, kind: Kind, folder: Path) -> Path | bytes | str | None:
    if isinstance(value, Mapping):  # an image in Hugging Face's form
        value = value.get("bytes") or value.get("path")
    if value is None or value == "":
        return None
    if kind == "image":
        return value if isinstance(value, bytes) else folder / str(value)
    return str(value)


def _read_table(path: Path) -> dict[str, Sequence[Any]]:
    try:
        match path.suffix.lower():
            case ".parquet":
                table = pq.read_table(path)
                return {name: table[name].to_pylist() for name in table.column_names}
            case ".csv" | ".tsv":
                return _by_column(list(_csv_rows(path)))
            case ".jsonl" | ".ndjson":
                return _by_column([json.loads(line) for line in _decode(path).splitlines() if line.strip()])
    except (pa.ArrowException, csv.Error, ValueError, OSError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} cannot be read ({' '.join(str(error).split())[:200]})") from error
    raise UserError(f"{path} is neither a folder nor a .csv, .tsv, .jsonl, .parquet or .txt file")


def _csv_rows(path: Path) -> Iterator[dict[str, str]]:
    csv.field_size_limit(MAX_FIELD)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    for row in csv.DictReader(_decode(path).splitlines(keepends=True), delimiter=delimiter):
        if None in row:
            raise UserError(f"{path} has a row with more cells than columns: {next(iter(row.values()))}")
        yield row


def _by_column(rows: list[dict[str, Any]]) -> dict[str, Sequence[Any]]:
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("a line is not a JSON object")
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _decode(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as UTF-8 text ({error})") from error


def _first(columns: Mapping[str, Any], names: Sequence[str]) -> str | None:
    lower = {column.lower(): column for column in reversed(list(columns))}
    return next((lower[name] for name in names if name in lower), None)

"""The table of captions, with a summary in its metadata."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fclip.errors import UserError
from fclip.files import atomic_path

SUMMARY = b"fclip.captions"  # key in the schema's metadata

CAPTION = pa.struct(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("num_tokens", pa.int32(), nullable=False),
        pa.field("truncated", pa.bool_(), nullable=False),
    ]
)
SCHEMA = pa.schema(
    [
        pa.field("product_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("captions", pa.list_(CAPTION), nullable=False),
    ]
)


def write_captions(path: Path, captions: pa.Table) -> None:
    """Write captions to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        pq.write_table(captions, temporary, compression="zstd")


def read_captions(path: Path) -> pa.Table:
    """Read the captions in `path`. Raise UserError if the file does not exist."""
    return pq.read_table(_existing(path))


def read_summary(path: Path) -> dict[str, Any]:
    """Read the summary of the captions in `path`. Raise UserError if the file does not exist."""
    summary: dict[str, Any] = json.loads(pq.read_schema(_existing(path)).metadata[SUMMARY])
    return summary


def with_summary(table: pa.Table, summary: dict[str, Any]) -> pa.Table:
    """Return the table with a summary, which `read_summary` reads."""
    return table.replace_schema_metadata({SUMMARY: json.dumps(summary, sort_keys=True)})


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{path} does not exist; run `dvc pull`, or caption {path.stem} first")
    return path

"""The table of captions, and the summary that it carries for people."""

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
    """The captions in `path`; raises UserError when there are none."""
    return pq.read_table(_existing(path))


def read_summary(path: Path) -> dict[str, Any]:
    """What was counted while the captions in `path` were made; raises UserError when there are none."""
    summary: dict[str, Any] = json.loads(pq.read_schema(_existing(path)).metadata[SUMMARY])
    return summary


def with_summary(table: pa.Table, summary: dict[str, Any]) -> pa.Table:
    """The table with a summary, for `read_summary`."""
    return table.replace_schema_metadata({SUMMARY: json.dumps(summary, sort_keys=True)})


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{path} does not exist: run `dvc pull`, or caption {path.stem} first")
    return path

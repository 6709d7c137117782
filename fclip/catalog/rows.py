"""What comes out of a source: rows as they are, and rows that could not be read."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

MAX_CHARS = 1000
MAX_CELLS = 200


@dataclass(frozen=True)
class Refusal:
    """Why a row is refused: `reason` is one of few, and counted; `detail` says what was found in this row."""

    stage: str  # read | validate | decode: the row is bad; exclude | split: it is good, and left out on purpose
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class SourceRow:
    """One row of a source as it is, nothing yet checked.

    `source_row` counts from 0. An image is its bytes, the file that holds it, or why there is none. `split` is given
    only by sources that come split. `raw` is what a person looks at when the row is refused, without image bytes.
    """

    source_row: int
    product_id: str | None
    attributes: Mapping[str, str]
    texts: Mapping[str, str]
    images: tuple[bytes | Path | Refusal, ...]
    parent_id: str | None = None
    split: str | None = None
    raw: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class RefusedRow:
    """A row refused, and why: what quarantine keeps."""

    source_row: int
    product_id: str | None
    refusal: Refusal
    raw: Mapping[str, object] = field(default_factory=dict)


def refuse(row: SourceRow | RefusedRow, refusal: Refusal) -> RefusedRow:
    """`row` refused; of what it held, the first cells are kept, and of long ones their beginning."""
    product_id = None if row.product_id is None else row.product_id[:MAX_CHARS]
    refusal = Refusal(refusal.stage, refusal.reason, refusal.detail[:MAX_CHARS])
    raw = {name[:MAX_CHARS]: _short(value) for name, value in islice(row.raw.items(), MAX_CELLS)}
    return RefusedRow(row.source_row, product_id, refusal, raw)


def _short(value: object) -> object:
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]}… ({len(text)} characters)"

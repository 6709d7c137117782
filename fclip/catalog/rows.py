"""What comes out of a source: rows as they are, rows that could not be read, and which of them a limit keeps."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeVar

from fclip.errors import UserError
from fclip.files import sha256_bytes

T = TypeVar("T")
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


def spread_rows(num_rows: int, limit: int | None) -> frozenset[int] | None:
    """`limit` rows spread over `num_rows`, always the same; None for all of them.

    One row from each of `limit` equal stretches, so that a source sorted by class or split gives a like share of
    each; its place in the stretch is hashed, so that a source with a period does not give one phase of it.
    """
    if limit is None or limit >= num_rows:
        return None
    rows = []
    for stretch in range(limit):
        begin, end = stretch * num_rows // limit, (stretch + 1) * num_rows // limit
        rows.append(begin + int(sha256_bytes(str(stretch).encode())[:8], 16) % (end - begin))
    return frozenset(rows)


def chosen_rows(
    records: Iterable[T], num_rows: int | None, limit: int | None, where: object
) -> Iterator[tuple[int, T]]:
    """The records that a limit keeps, each with its number among all of them.

    Args:
        num_rows: of all records; None where it is not known, for which there must be no limit.
        where: the file of the records, for the error.

    Raises:
        UserError: at the end, when there are not `num_rows` of them.
    """
    assert num_rows is not None or limit is None
    chosen = None if num_rows is None else spread_rows(num_rows, limit)
    found = 0
    for row, record in enumerate(records):
        found += 1
        if chosen is None or row in chosen:
            yield row, record
    if num_rows is not None and found != num_rows:
        raise UserError(f"{where} gives {found} rows, and {num_rows} are pinned: run `fclip pin`")


def _short(value: object) -> object:
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]}… ({len(text)} characters)"

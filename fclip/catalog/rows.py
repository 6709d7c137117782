"""Rows of a source, refused rows, and the sample of rows that a limit keeps."""

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
    """Why a row is refused. `reason` is from a small fixed set and is counted; `detail` describes this row."""

    stage: str  # read | validate | decode: the row is bad; exclude | split: a good row, excluded on purpose
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class SourceRow:
    """One unchecked row of a source.

    Attributes:
        source_row: the row's number, from 0.
        images: bytes, files, or refusals; the primary image first.
        split: the split that the source gives; None for a source without fixed splits.
        raw: the row without image bytes, for quarantine.
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
    """A refused row with its reason, as quarantine stores it."""

    source_row: int
    product_id: str | None
    refusal: Refusal
    raw: Mapping[str, object] = field(default_factory=dict)


def refuse(row: SourceRow | RefusedRow, refusal: Refusal) -> RefusedRow:
    """Return `row` as refused. Only the first cells are kept, and long ones are shortened."""
    product_id = None if row.product_id is None else row.product_id[:MAX_CHARS]
    refusal = Refusal(refusal.stage, refusal.reason, refusal.detail[:MAX_CHARS])
    raw = {name[:MAX_CHARS]: _short(value) for name, value in islice(row.raw.items(), MAX_CELLS)}
    return RefusedRow(row.source_row, product_id, refusal, raw)


def sample_rows(num_rows: int, limit: int | None) -> frozenset[int] | None:
    """Return a fixed sample of `limit` of `num_rows` row numbers; None for all rows.

    The sample has one row from each of `limit` equal ranges, so that a source sorted by class or split is sampled
    evenly. The row within its range is chosen by a hash, so that a periodic source is not sampled at one phase.
    """
    if limit is None or limit >= num_rows:
        return None
    rows = []
    for part in range(limit):
        begin, end = part * num_rows // limit, (part + 1) * num_rows // limit
        rows.append(begin + int(sha256_bytes(str(part).encode())[:8], 16) % (end - begin))
    return frozenset(rows)


def sampled_rows(
    records: Iterable[T], num_rows: int | None, limit: int | None, where: object
) -> Iterator[tuple[int, T]]:
    """Yield the records that a limit keeps, each with its row number.

    Args:
        num_rows: the number of all records; None if unknown, which allows no limit.
        where: the file of the records, for the error message.

    Raises:
        UserError: the number of records is not `num_rows`; raised after the last record.
    """
    assert num_rows is not None or limit is None
    chosen = None if num_rows is None else sample_rows(num_rows, limit)
    count = 0
    for row, record in enumerate(records):
        count += 1
        if chosen is None or row in chosen:
            yield row, record
    if num_rows is not None and count != num_rows:
        raise UserError(f"{where} has {count} rows, but {num_rows} are pinned; run `fclip pin`")


def _short(value: object) -> object:
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]}… ({len(text)} characters)"

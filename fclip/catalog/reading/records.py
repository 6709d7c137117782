"""Column mappings: check them against a table, and turn a table's records into products."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from fclip.catalog.rows import Refusal, SourceRow
from fclip.errors import UserError

MAX_DEPTH = 32  # of nested lists and objects
MAX_SHOWN = 50  # columns in an error message
MAX_SEARCHED = 4096  # characters of a cell; a regular expression may need quadratic time


class ColumnMapping(Protocol):
    """The column mapping of a source's config. `texts` and `attributes` map names to columns of the table.

    The parent of a product is the part of its `parent_id` cell that matches the regular expression `parent_pattern`.
    Without a pattern or a match it is the whole cell.
    """

    @property
    def product_id(self) -> str: ...

    @property
    def image(self) -> str | list[str]: ...

    @property
    def texts(self) -> dict[str, str]: ...

    @property
    def attributes(self) -> dict[str, str]: ...

    @property
    def parent_id(self) -> str | None: ...

    @property
    def parent_pattern(self) -> str | None: ...


def check_mapping(mapping: ColumnMapping) -> None:
    """Raise ValueError for names that templates cannot use, or an invalid regular expression."""
    for name in [*mapping.texts, *mapping.attributes]:
        if not name.isidentifier():
            raise ValueError(f"texts and attributes must have names that are identifiers (for templates), not `{name}`")
        if name in mapping.texts and name in mapping.attributes:
            raise ValueError(f"texts and attributes must not share a name: `{name}` is in both")
    pattern = mapping.parent_pattern
    if pattern is None:
        return
    if mapping.parent_id is None:
        raise ValueError("parent_pattern must be null if parent_id is null: it is searched in that column")
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"parent_pattern must be a regular expression ({error}), not `{pattern}`") from error


def mapped_columns(source: ColumnMapping) -> list[str]:
    """Every column that the source's mapping names, once, in order."""
    columns = [source.product_id, *image_columns(source), *source.texts.values(), *source.attributes.values()]
    if source.parent_id is not None:
        columns.append(source.parent_id)
    return list(dict.fromkeys(columns))


def image_columns(source: ColumnMapping) -> list[str]:
    """The columns that name a product's images, that of the primary image first."""
    return [source.image] if isinstance(source.image, str) else source.image


def require_columns(where: object, wanted: Sequence[str], present: Sequence[str]) -> None:
    """Raise UserError if a column of `wanted` is missing from `present` or occurs twice."""
    listed = ", ".join(f"`{column:.80}`" for column in present[:MAX_SHOWN]) or "none"
    if len(present) > MAX_SHOWN:
        listed += f", … ({len(present)} columns)"
    if missing := [column for column in wanted if column not in present]:
        names = ", ".join(f"`{column}`" for column in missing)
        plural = "columns" if len(missing) > 1 else "column"
        remedy = "correct the mapping in params.yaml or in the dataset's description"
        raise UserError(f"{where} has no {plural} {names} (columns: {listed}); {remedy}")
    if twice := [column for column in wanted if list(present).count(column) > 1]:
        raise UserError(f"{where} has the column `{twice[0]}` twice (columns: {listed}); rename one")


def parent_of(source: ColumnMapping, record: Mapping[str, object]) -> str | None:
    """Return the parent of a record's product: its `parent_id` cell, or the match of `parent_pattern` in it.

    A cell longer than `MAX_SEARCHED` is not searched. Validation refuses it for its length.
    """
    cell = cell_text(record.get(source.parent_id)) if source.parent_id else None
    if cell is None or source.parent_pattern is None or len(cell) > MAX_SEARCHED:
        return cell
    match = re.search(source.parent_pattern, cell)
    return match[0] if match else cell


def cell_text(value: object) -> str | None:
    """Return a cell as stripped text. Return None for null, NaN and blank cells.

    Whole floats lose their fraction (a column of years with nulls is often stored as floats). Lists are joined with
    commas. Bytes that are not UTF-8 become lone surrogates, which validation refuses.
    """
    if isinstance(value, str):  # the most frequent case
        return value.strip() or None
    match value:
        case None:
            return None
        case bytes():
            text = value.decode("utf-8", "surrogateescape")
        case float():
            if math.isnan(value):
                return None
            text = str(int(value)) if value.is_integer() else str(value)
        case Mapping():
            text = json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
        case Sequence():
            text = ", ".join(part for part in map(cell_text, value) if part)
        case _:
            text = str(value)
    return text.strip() or None


def is_deep(value: object, levels: int = MAX_DEPTH) -> bool:
    """Whether lists and objects are nested more than `levels` deep."""
    if not isinstance(value, list | tuple | dict):
        return False
    return levels == 0 or any(
        is_deep(each, levels - 1) for each in (value.values() if isinstance(value, dict) else value)
    )


def named_cells(record: Mapping[str, object], mapping: Mapping[str, str]) -> dict[str, str]:
    """Return the non-null cells of `record` by name. `mapping` maps names to columns."""
    return {name: text for name, column in mapping.items() if (text := cell_text(record.get(column))) is not None}


def product_row(
    source: ColumnMapping, row: int, record: Mapping[str, object], images: Sequence[bytes | Path | Refusal]
) -> SourceRow:
    """Return row number `row` of a source as a product, from its record and its images."""
    return SourceRow(
        source_row=row,
        product_id=cell_text(record.get(source.product_id)),
        parent_id=parent_of(source, record),
        attributes=named_cells(record, source.attributes),
        texts=named_cells(record, source.texts),
        images=tuple(images),
        raw=record,
    )

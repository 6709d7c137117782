"""Cells of a table as text."""

import json
import math
from collections.abc import Mapping, Sequence


def cell_text(value: object) -> str | None:
    """A cell as stripped text; None for null, NaN and blank.

    Whole floats lose their fraction (a column of years with nulls is often stored as floats), lists are joined with
    commas. Bytes that are no UTF-8 become lone surrogates, which validation refuses.
    """
    if isinstance(value, str):  # nearly all of them
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


MAX_DEPTH = 32  # of lists and objects inside each other


def is_deep(value: object, levels: int = MAX_DEPTH) -> bool:
    """Whether lists and objects lie in each other deeper than anyone means them to."""
    if not isinstance(value, list | tuple | dict):
        return False
    return levels == 0 or any(
        is_deep(each, levels - 1) for each in (value.values() if isinstance(value, dict) else value)
    )


def named_cells(record: Mapping[str, object], mapping: Mapping[str, str]) -> dict[str, str]:
    """The non-null cells of `record` under our names; `mapping` goes from our name to the column."""
    return {name: text for name, column in mapping.items() if (text := cell_text(record.get(column))) is not None}

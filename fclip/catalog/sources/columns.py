"""The columns that a mapping names, whether a table has them, and the parent that they give."""

import re
from collections.abc import Mapping, Sequence

from fclip.catalog.config import HubSource, TableSource
from fclip.catalog.sources.cells import cell_text
from fclip.errors import UserError

MAX_SHOWN = 50  # columns in a message
MAX_SEARCHED = 4096  # characters of a cell: a regular expression may take the square of that


def mapped_columns(source: TableSource | HubSource) -> list[str]:
    """Every column that the source's mapping names, once, in order."""
    columns = [source.product_id, source.image, *source.texts.values(), *source.attributes.values()]
    if source.parent_id is not None:
        columns.append(source.parent_id)
    return list(dict.fromkeys(columns))


def require_columns(where: object, wanted: Sequence[str], present: Sequence[str]) -> None:
    """Raise UserError naming the `wanted` columns that are not `present` (and those that are), or are there twice."""
    listed = ", ".join(f"`{column:.80}`" for column in present[:MAX_SHOWN]) or "none"
    if len(present) > MAX_SHOWN:
        listed += f", … ({len(present)} columns)"
    if missing := [column for column in wanted if column not in present]:
        names = ", ".join(f"`{column}`" for column in missing)
        plural = "columns" if len(missing) > 1 else "column"
        remedy = "mend the mapping in params.yaml, or in the dataset's description"
        raise UserError(f"{where} has no {plural} {names}: it has {listed}; {remedy}")
    if twice := [column for column in wanted if list(present).count(column) > 1]:
        raise UserError(f"{where} has the column `{twice[0]}` twice: rename one (columns: {listed})")


def parent_of(source: TableSource | HubSource, record: Mapping[str, object]) -> str | None:
    """The parent of a record's product: its `parent_id` cell, or what `parent_pattern` finds in it.

    A cell longer than `MAX_SEARCHED` is not searched, and as a parent refused for its length.
    """
    cell = cell_text(record.get(source.parent_id)) if source.parent_id else None
    if cell is None or source.parent_pattern is None or len(cell) > MAX_SEARCHED:
        return cell
    found = re.search(source.parent_pattern, cell)
    return found[0] if found else cell

"""The columns that a mapping names, whether a table has them, and the parent that they give."""

import re
from collections.abc import Mapping, Sequence

from fclip.catalog.config import HubSource, TableSource
from fclip.catalog.sources.cells import cell_text
from fclip.errors import UserError


def mapped_columns(source: TableSource | HubSource) -> list[str]:
    """Every column that the source's mapping names, once, in order."""
    columns = [source.product_id, source.image, *source.texts.values(), *source.attributes.values()]
    if source.parent_id is not None:
        columns.append(source.parent_id)
    return list(dict.fromkeys(columns))


def require_columns(where: object, wanted: Sequence[str], present: Sequence[str]) -> None:
    """Raise UserError naming the `wanted` columns that are not `present` (and those that are), or are there twice."""
    listed = ", ".join(f"`{column}`" for column in present) or "none"
    if missing := [column for column in wanted if column not in present]:
        names = ", ".join(f"`{column}`" for column in missing)
        plural = "columns" if len(missing) > 1 else "column"
        remedy = "mend the mapping in params.yaml, or in the dataset's description"
        raise UserError(f"{where} has no {plural} {names}: it has {listed}; {remedy}")
    if twice := [column for column in wanted if list(present).count(column) > 1]:
        raise UserError(f"{where} has the column `{twice[0]}` twice: rename one (columns: {listed})")


def parent_of(source: TableSource | HubSource, record: Mapping[str, object]) -> str | None:
    """The parent of a record's product: its `parent_id` cell, or what `parent_pattern` finds in it."""
    cell = cell_text(record.get(source.parent_id)) if source.parent_id else None
    found = re.search(source.parent_pattern, cell) if source.parent_pattern and cell else None
    return found[0] if found else cell

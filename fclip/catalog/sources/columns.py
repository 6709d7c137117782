"""The columns that a mapping in params names, and whether a table has them."""

from collections.abc import Sequence

from fclip.catalog.config import HubSource, TableSource
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
        raise UserError(f"{where} has no {plural} {names}: it has {listed}; mend the mapping in params.yaml")
    if twice := [column for column in wanted if list(present).count(column) > 1]:
        raise UserError(f"{where} has the column `{twice[0]}` twice: rename one (columns: {listed})")

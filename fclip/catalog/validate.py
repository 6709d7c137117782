"""What a row must be before its images are looked at."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import StringConstraints, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from fclip.catalog.config import RowConfig
from fclip.catalog.rows import Refusal, SourceRow

MAX_ID_CHARS = 256
NO_CONTROL = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"


class RowRules:
    """The rules of one dataset: `refusal` says which of them a row breaks."""

    def __init__(self, config: RowConfig, types: Mapping[str, str]) -> None:
        name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_CHARS, pattern=NO_CONTROL)]
        cell = Annotated[str, StringConstraints(max_length=config.max_text_chars)]
        # The functional form, since the limits are values of this run.
        fields: dict[str, Any] = {
            "product_id": name,
            "parent_id": name | None,
            "texts": dict[str, cell],
            "attributes": dict[str, cell],
        }
        self._adapter: TypeAdapter[Any] = TypeAdapter(TypedDict("Row", fields))  # type: ignore[operator]
        self._types = dict(types)
        self._first_rows: dict[str, int] = {}

    def refusal(self, row: SourceRow) -> Refusal | None:
        """Why a row is refused, or None; rows are given in order, since an id may be there only once."""
        if row.product_id is None:
            return Refusal("validate", "empty product_id")
        cells = {
            "product_id": row.product_id,
            "parent_id": row.parent_id,
            "texts": row.texts,
            "attributes": row.attributes,
        }
        try:
            self._adapter.validate_python(cells)
        except ValidationError as error:
            return _broken(error)
        first = self._first_rows.setdefault(row.product_id, row.source_row)
        if first != row.source_row:
            return Refusal("validate", "duplicate product_id", f"as in row {first}")
        for name, kind in self._types.items():
            if (text := row.attributes.get(name)) is not None and not _is(kind, text):
                return Refusal("validate", "wrong type", f"{name}: {text!r:.200} is no {kind}")
        if not row.images:
            return Refusal("validate", "no image")
        return next((image for image in row.images if isinstance(image, Refusal)), None)


def _broken(error: ValidationError) -> Refusal:
    fault = error.errors(include_url=False)[0]
    where = str(fault["loc"][-1])
    found = f"{fault['input']!r:.200}"
    match fault["type"]:
        case "string_unicode":
            return Refusal("validate", "broken encoding", f"{where}: {found}")
        case "string_too_long":
            what = f"{where}: {len(fault['input'])} characters, {fault['ctx']['max_length']} at most: {found}"
            return Refusal("validate", f"{where if where.endswith('_id') else 'text'} too long", what)
        case "string_pattern_mismatch":
            return Refusal("validate", f"control characters in {where}", found)
    return Refusal("validate", "malformed row", f"{where}: {fault['msg']}: {found}")


def _is(kind: str, text: str) -> bool:
    try:
        value = float(text)
    except ValueError:
        return False
    return math.isfinite(value) and (kind == "number" or value.is_integer())

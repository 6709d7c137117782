"""Validation of a row before its images are read."""

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
    """The validation rules of one dataset."""

    def __init__(self, config: RowConfig, types: Mapping[str, str]) -> None:
        name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_CHARS, pattern=NO_CONTROL)]
        cell = Annotated[str, StringConstraints(max_length=config.max_text_chars)]
        # Functional form of TypedDict, since the limits are known only at run time.
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
        """Return why a row is refused, or None. Pass each row once, in order: repeated ids are refused."""
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
            return _validation_refusal(error)
        first = self._first_rows.setdefault(row.product_id, row.source_row)
        if first != row.source_row:
            return Refusal("validate", "duplicate product_id", f"same as in row {first}")
        for name, kind in self._types.items():
            if (text := row.attributes.get(name)) is not None and not _has_type(kind, text):
                return Refusal("validate", "wrong type", f"{name}: {text!r:.200} is not of type {kind}")
        if not row.images:
            return Refusal("validate", "no image")
        return next((image for image in row.images if isinstance(image, Refusal)), None)


def _validation_refusal(error: ValidationError) -> Refusal:
    fault = error.errors(include_url=False)[0]
    where = str(fault["loc"][-1])
    value = f"{fault['input']!r:.200}"
    match fault["type"]:
        case "string_unicode":
            return Refusal("validate", "broken encoding", f"{where}: {value}")
        case "string_too_long":
            detail = f"{where}: {len(fault['input'])} characters, {fault['ctx']['max_length']} at most: {value}"
            return Refusal("validate", f"{where if where.endswith('_id') else 'text'} too long", detail)
        case "string_pattern_mismatch":
            return Refusal("validate", f"control characters in {where}", value)
    return Refusal("validate", "malformed row", f"{where}: {fault['msg']}: {value}")


def _has_type(kind: str, text: str) -> bool:
    try:
        value = float(text)
    except ValueError:
        return False
    return math.isfinite(value) and (kind == "number" or value.is_integer())

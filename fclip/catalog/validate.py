"""What a row must be before its images are decoded."""

from collections.abc import Mapping

from fclip.catalog.rows import Refusal, SourceRow


def row_refusal(row: SourceRow, first_rows: Mapping[str, int]) -> Refusal | None:
    """Why a row is refused, or None; `first_rows` says in which row each product id came before."""
    if row.product_id is None:
        return Refusal("validate", "empty product_id")
    cells = {"product_id": row.product_id, "parent_id": row.parent_id or "", **row.texts, **row.attributes}
    for name, text in cells.items():
        if (bad := _lone_surrogate(text)) is not None:
            return Refusal("validate", "broken encoding", f"{name}, character {bad}: {text!r:.200}")
    if row.product_id in first_rows:
        return Refusal("validate", "duplicate product_id", f"as in row {first_rows[row.product_id]}")
    if not row.images:
        return Refusal("validate", "no image")
    return next((image for image in row.images if isinstance(image, Refusal)), None)


def _lone_surrogate(text: str) -> int | None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None

"""Pins of sources: what a source was when it was last looked at, and whether it still is that."""

from collections.abc import Mapping
from pathlib import Path

from fclip.catalog.config import AnySource
from fclip.catalog.sources.registry import reader
from fclip.errors import UserError


def describe_source(dataset: str, source: AnySource, *, root: Path) -> dict[str, object]:
    """The pin of a source as it is now; cheap. Raises UserError when the source is not there."""
    return {"dataset": dataset, **reader(source).describe(source, root)}


def verify_pin(dataset: str, source: AnySource, pin: Mapping[str, object], *, root: Path) -> None:
    """Raise UserError unless the source is what `pin` says: pinned at all, and not changed since."""
    if not pin:
        raise UserError(f"the source of `{dataset}` is not pinned yet: run `fclip pin`")
    now = describe_source(dataset, source, root=root)
    if changed := sorted(key for key in pin.keys() | now.keys() if pin.get(key) != now.get(key)):
        what = ", ".join(_change(key, pin.get(key), now.get(key)) for key in changed)
        raise UserError(f"the source of `{dataset}` changed since it was pinned ({what}): run `fclip pin`")


def _change(key: str, before: object, now: object) -> str:
    short = all(isinstance(value, str | int | None) for value in (before, now))
    return f"{key}: {before} then, {now} now" if short else key

"""New arrivals: the newest products by their time."""

from collections.abc import Callable, Sequence
from typing import Any

NEWEST_FRACTION = 0.1
"""Fraction of products that count as new arrivals; products with the same time as the oldest of them count too."""


def new_arrivals(times: Sequence[str | None]) -> list[str | None]:
    """Return `new` for the newest tenth of the items with a time, `earlier` for the others, None without a time.

    Args:
        times: numbers or ISO dates, which sort as text; None if an item has no time.
    """
    known = [time for time in times if time is not None]
    if not known:
        return [None] * len(times)
    order: Callable[[str], Any] = float if all(map(_is_number, known)) else str
    since = sorted(map(order, known))[-max(1, round(NEWEST_FRACTION * len(known)))]
    return [None if time is None else "new" if order(time) >= since else "earlier" for time in times]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

"""Progress of long-running work: a bar in a terminal, else periodic log lines."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any, TypeVar

logger = logging.getLogger(__name__)
T = TypeVar("T")
SECONDS_BETWEEN_LINES = 15.0


def count_one(item: object) -> int:
    """Return 1, the default size of an item."""
    return 1


def progress(
    items: Iterable[T],
    *,
    label: str,
    total: int | None = None,
    unit: str = "it",
    size: Callable[[Any], int] = count_one,
) -> Iterator[T]:
    """Yield `items` and show how many `unit` are done and how many per second.

    If standard error is a terminal and rich is installed, show a bar. Otherwise log a line every 15 s and at the end.

    Args:
        total: the sum of all sizes; None to use the number of items, if known.
        size: returns how many `unit` an item counts for.
    """
    if total is None and isinstance(items, Sized) and size is count_one:
        total = len(items)
    if sys.stderr.isatty():
        try:
            from rich.console import Console
            from rich.progress import Progress
        except ImportError:
            pass
        else:
            with Progress(*Progress.get_default_columns(), console=Console(stderr=True)) as bar:
                task = bar.add_task(label, total=total)
                for item in items:
                    yield item
                    bar.advance(task, size(item))
            return
    yield from _logged(items, label, total, unit, size)


def _logged(items: Iterable[T], label: str, total: int | None, unit: str, size: Callable[[Any], int]) -> Iterator[T]:
    began = last = time.monotonic()
    count = 0
    for item in items:
        yield item
        count += size(item)
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            of_total = f" of {total}" if total is not None else ""
            logger.info("%s: %d%s %s, %.1f/s", label, count, of_total, unit, count / (now - began))
    seconds = time.monotonic() - began
    logger.info("%s: %d %s in %.1f s, %.1f/s", label, count, unit, seconds, count / max(seconds, 1e-9))

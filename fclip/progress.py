"""Progress on long work: a bar in a terminal, a line now and then in a log."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

logger = logging.getLogger(__name__)
T = TypeVar("T")
SECONDS_BETWEEN_LINES = 15.0


def progress(items: Iterable[T], *, label: str, total: int | None = None, unit: str = "it") -> Iterator[T]:
    """Yield `items`, showing how many went by and how fast.

    A rich bar when standard error is a terminal and rich is installed; otherwise log lines, one every 15 s
    and one at the end.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if sys.stderr.isatty():
        try:
            from rich.console import Console
            from rich.progress import track
        except ImportError:
            pass
        else:
            yield from track(items, description=label, total=total, console=Console(stderr=True))
            return
    yield from _logged(items, label, total, unit)


def _logged(items: Iterable[T], label: str, total: int | None, unit: str) -> Iterator[T]:
    began = last = time.monotonic()
    count = 0
    for item in items:
        yield item
        count += 1
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            of = f" of {total}" if total is not None else ""
            logger.info("%s: %d%s %s, %.1f/s", label, count, of, unit, count / (now - began))
    seconds = time.monotonic() - began
    logger.info("%s: %d %s in %.1f s, %.1f/s", label, count, unit, seconds, count / max(seconds, 1e-9))

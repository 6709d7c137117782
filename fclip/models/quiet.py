"""Keep open_clip's narration of each load out of the log."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what open_clip says through the root logger below a warning, and its warnings, for as long as this lasts."""
    root = logging.getLogger()
    root.addFilter(_not_open_clip)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeFilter(_not_open_clip)


def _not_open_clip(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR or "open_clip" not in record.pathname

"""Graceful interruption: signals are recorded, and the run stops at a point where no work is lost."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)

Stop = Callable[[int], bool]
"""Called between units of work with the number of finished steps (0 during preparation); returns whether to stop."""


class Interrupted(Exception):
    """The run was interrupted. Its progress is saved, and the same call resumes it."""


def never_stop(step: int) -> bool:
    """Return false: the run is not interruptible."""
    return False


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Context in which SIGTERM and SIGINT only make the yielded `Stop` return true.

    The previous handlers are restored after the first signal, so that a second one ends the process at once, and on
    exit. In threads other than the main thread nothing changes, because Python delivers signals to the main thread.
    """
    received = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield never_stop
        return
    previous = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def record(number: int, frame: FrameType | None) -> None:
        received.set()
        restore()

    for number in SIGNALS:
        signal.signal(number, record)
    try:
        yield lambda step: received.is_set()
    finally:
        restore()

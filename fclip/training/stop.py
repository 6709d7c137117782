"""Being told to stop: noticed, and acted on where nothing is lost."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)

Stop = Callable[[int], bool]
"""Asked between pieces of work whether to leave; told how many steps are done (0 while preparing)."""


class Interrupted(Exception):
    """The run was told to stop; what is done is kept and the same call goes on from there."""


def never(step: int) -> bool:
    """Do not stop."""
    return False


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Within, SIGTERM and SIGINT are only noticed by the `Stop` that this yields.

    After the first of either, and on leaving, both do again what they did before: a second one does not wait.
    SourceAccess the main thread nothing is changed, since Python delivers signals there.
    """
    told = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield never
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def notice(number: int, frame: FrameType | None) -> None:
        told.set()
        restore()

    for number in SIGNALS:
        signal.signal(number, notice)
    try:
        yield lambda step: told.is_set()
    finally:
        restore()

"""The progress of a stage while the flow runs it: one live line in a terminal, else a log line every ten seconds."""

import logging
from collections.abc import Callable

from rich.console import Console

from fclip.progress import LiveLine, ProgressRecord, line_limit


class LiveStage:
    """Shows the progress of one stage. Use it as a context manager while the stage runs.

    In a terminal, the line is shown on the console of Prefect's log handler, so that log lines scroll above it.

    Args:
        name: name of the stage.
        log: receives the lines if there is no terminal: at most one every ten seconds in this process, and one at the
            end of a long loop.
    """

    def __init__(self, name: str, log: Callable[[str], object]) -> None:
        self._name, self._log = name, log
        console = _console()
        self._line = LiveLine(console, name) if console.is_interactive and console.file.isatty() else None

    def __enter__(self) -> "LiveStage":
        if self._line is not None:
            self._line.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._line is not None:
            self._line.stop()

    def show(self, record: ProgressRecord) -> None:
        """Show the latest record of the stage."""
        if self._line is not None:
            self._line.show(record)
        elif line_limit.allows(record):
            self._log(f"{self._name}: {record.describe()}")


def _console() -> Console:
    """The console of Prefect's log handler if logging is configured, else a new one for standard error."""
    for handler in logging.getLogger().handlers:
        console = getattr(handler, "console", None)
        if isinstance(console, Console):
            return console
    return Console(stderr=True)

"""The progress of a stage while the flow runs it: one live line in a terminal, else a log line every ten seconds."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from rich.console import Console

from fclip.progress import LiveLine, ProgressRecord, line_limit
from flows.pipeline_worker import StageOutcome


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


@dataclass(frozen=True)
class FollowedStage:
    """How a stage ended, and the seconds of its loops by label."""

    outcome: StageOutcome
    loops: Mapping[str, float]


def follow_stage(lines: Iterable[str | StageOutcome], name: str, log: Callable[[str], object]) -> FollowedStage:
    """Show the progress of a stage and log its other lines until it ends.

    Args:
        lines: the output of the stage and at last its outcome (`PipelineProcess.run`).
    """
    loops: dict[str, float] = {}
    with LiveStage(name, log) as live:
        for line in lines:
            if isinstance(line, StageOutcome):
                outcome = line
            elif record := ProgressRecord.from_line(line):
                live.show(record)
                if record.ended:
                    loops[record.label] = loops.get(record.label, 0.0) + record.seconds
            elif line.strip():
                log(line)
    return FollowedStage(outcome, loops)


def _console() -> Console:
    """The console of Prefect's log handler if logging is configured, else a new one for standard error."""
    for handler in logging.getLogger().handlers:
        console = getattr(handler, "console", None)
        if isinstance(console, Console):
            return console
    return Console(stderr=True)

"""The progress of a stage in the flow: a live line together with Prefect's log in a terminal, else log lines."""

import io
import logging
import re

import pytest
from prefect.logging.handlers import PrefectConsoleHandler

from fclip import progress
from fclip.progress import LineLimit, ProgressRecord
from flows.live import LiveStage


def record(seconds: float, *, ended: bool = False) -> ProgressRecord:
    return ProgressRecord("Training", 18, 45, "steps", 0.6, "loss 1.8", seconds, ended)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def handlers(monkeypatch: pytest.MonkeyPatch) -> list[logging.Handler]:
    """The handlers of the root logger, which Prefect configures: none yet."""
    found: list[logging.Handler] = []
    monkeypatch.setattr(logging.getLogger(), "handlers", found)
    return found


def test_the_live_line_leaves_log_lines_intact(
    handlers: list[logging.Handler], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    terminal = Terminal()
    handlers.append(PrefectConsoleHandler(stream=terminal))
    logged: list[str] = []
    with LiveStage("finetune", logged.append) as live:
        live.show(record(1.0))
        logging.getLogger("prefect.task_runs").warning("a line of the log")
        live.show(record(2.0))
    shown = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", terminal.getvalue())
    assert re.search(r"\r\x1b\[2K[0-9:.| ]*a line of the log\n", terminal.getvalue())  # the live line is erased first
    lines = [line.rpartition("\r")[2].strip() for line in shown.splitlines()]
    assert "a line of the log" in lines
    assert re.search(r"finetune  Training  ━+  18/45  0.60 steps/s  ETA 0:45  loss 1.8", shown)
    assert logged == []


def test_without_a_terminal_long_loops_are_logged(
    handlers: list[logging.Handler], monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers.append(PrefectConsoleHandler(stream=io.StringIO()))
    seconds = [0.0, 5.0, 12.0, 14.0, 23.0, 26.0]
    monkeypatch.setattr(progress, "monotonic", iter(1000 + each for each in seconds).__next__)
    monkeypatch.setattr("flows.live.line_limit", LineLimit())
    logged: list[str] = []
    with LiveStage("finetune", logged.append) as live:
        for each in seconds[:-1]:
            live.show(record(each))
        live.show(record(seconds[-1], ended=True))
    assert logged == [
        "finetune: Training 18/45 steps, 0.60 steps/s, ETA 0:45, loss 1.8",
        "finetune: Training 18/45 steps, 0.60 steps/s, ETA 0:45, loss 1.8",
        "finetune: Training 18/45 steps in 0:26, 0.60 steps/s",
    ]

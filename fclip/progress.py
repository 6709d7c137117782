"""What people see of running work: its progress, and tables in the log.

Progress is shown in one of three ways:

- If FCLIP_PROGRESS is `records`, each state is written to standard error as a line that a parent process reads
  (`ProgressRecord.from_line`). The flow sets the variable for its stages.
- If standard error is a terminal and rich is installed, there is one live line.
- Otherwise there are log lines: at most one every ten seconds in this process, and one at the end of a long loop.
"""

import json
import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from functools import cache
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

logger = logging.getLogger(__name__)
T = TypeVar("T")
MARK = "\x1e"  # ASCII record separator: the first character of a record
SECONDS_BETWEEN_RECORDS, SECONDS_BETWEEN_LINES, RATE_SECONDS = 0.2, 10.0, 30.0
BAR_WIDTH, MIN_BAR_WIDTH, SPINNER = 30, 6, "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


@dataclass(frozen=True)
class ProgressRecord:
    """The state of a loop.

    Attributes:
        done, total: how many `unit`; total is None if it is unknown.
        rate: `unit` per second, over the last 30 s, or over the whole loop if it has ended.
        text: a few words, such as the loss.
        seconds: since the loop began.
        ended: whether this is the last record of the loop.
    """

    label: str
    done: int
    total: int | None
    unit: str
    rate: float
    text: str
    seconds: float
    ended: bool

    def to_line(self) -> str:
        """Return the record as one line without a line break."""
        return MARK + json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_line(cls, line: str) -> "ProgressRecord | None":
        """Return the record in a line that `to_line` made; None for any other line."""
        if not line.startswith(MARK):
            return None
        try:
            return cls(**json.loads(line[1:]))
        except (ValueError, TypeError):
            return None

    def describe(self) -> str:
        """Return the record as text for a log."""
        duration = f" in {_duration(self.seconds)}" if self.ended else ""
        return ", ".join([f"{self.label} {self.count} {self.unit}{duration}", *self.details])

    @property
    def count(self) -> str:
        """How much is done of how much."""
        return f"{self.done:,}" if self.total is None else f"{self.done:,}/{self.total:,}"

    @property
    def details(self) -> list[str]:
        """The rate, the remaining time and the text, as far as they are known."""
        parts = [f"{_digits(self.rate)} {self.unit}/s"] if self.rate else []
        if self.rate and self.total is not None and not self.ended:
            parts.append(f"ETA {_duration(max(0, self.total - self.done) / self.rate)}")
        return [*parts, self.text] if self.text and not self.ended else parts


class LineLimit:
    """Selects the records to log: one every ten seconds, also over several short loops, and the end of a long loop."""

    def __init__(self) -> None:
        self._line = self._record = float("-inf")  # times of the last line and of the last record

    def allows(self, record: ProgressRecord) -> bool:
        """Whether `record`, which describes the present, is logged."""
        now = monotonic()
        if now - self._record > SECONDS_BETWEEN_LINES:  # no loop was running: this one has ten seconds, too
            self._line = now - record.seconds
        self._record = now
        ends_long_loop = record.ended and record.seconds >= SECONDS_BETWEEN_LINES
        almost_ended = record.done == record.total and not record.ended
        if almost_ended or (now - self._line < SECONDS_BETWEEN_LINES and not ends_long_loop):
            return False
        self._line = now
        return True


line_limit = LineLimit()  # of this process


class LiveLine:
    """One line at the bottom of a terminal. What is logged or printed meanwhile scrolls above it.

    Args:
        title: the first words of the line, shown also while there is no record.
    """

    def __init__(self, console: "Console", title: str = "") -> None:
        self._console, self._title = console, title
        self._record: ProgressRecord | None = None
        self._live: Live | None = None
        self._redirected: list[logging.StreamHandler[Any]] = []

    def start(self) -> None:
        """Show the line, if it is not shown yet."""
        if self._live is not None:
            return
        from rich.live import Live

        self._began, stderr = monotonic(), sys.stderr
        self._live = Live(
            get_renderable=self._render,
            console=self._console,
            refresh_per_second=1 / SECONDS_BETWEEN_RECORDS,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
        )
        self._live.start(refresh=True)
        # rich has replaced sys.stderr, but log handlers keep the stream that they were created with.
        handlers = logging.getLogger().handlers
        self._redirected = [each for each in handlers if type(each) is logging.StreamHandler and each.stream is stderr]
        for handler in self._redirected:
            handler.setStream(sys.stderr)

    def show(self, record: ProgressRecord) -> None:
        """Show `record` instead of the last one. A record that ends its loop leaves only the title."""
        self._record = None if record.ended else record

    def show_loop(self, record: ProgressRecord) -> None:
        """The same, with a line that exists only while the loop runs."""
        self.show(record)
        if record.ended:
            self.stop()
        else:
            self.start()

    def stop(self) -> None:
        """Remove the line."""
        if self._live is not None:
            self._live.stop()
            self._live = None
            for handler in self._redirected:
                handler.setStream(sys.stderr)

    def _render(self) -> "Text":
        from rich.text import Text

        record = self._record
        before = ["", self._title] if self._title else [""]
        after = [_duration(monotonic() - self._began)]
        if record is not None:
            before, after = [*before, record.label], [record.count, *record.details]
        line = Text(SPINNER[int(8 * monotonic()) % len(SPINNER)], "cyan", no_wrap=True, overflow="ellipsis")
        line.append("  ".join(before), "bold")
        rest = "  ".join(after)
        room = self._console.width - len(line) - len(rest) - 5  # a short bar is worth more than the record's text
        if record is not None and record.total and room + len(record.text) >= MIN_BAR_WIDTH:
            width = min(max(room, MIN_BAR_WIDTH), BAR_WIDTH)
            filled = min(width, width * record.done // record.total)
            line.append("  ").append("━" * filled, "cyan").append("━" * (width - filled), "bright_black")
        return line.append("  " + rest, "default")


class Tracker:
    """Counts what a loop has done and shows it. Close it at the end.

    Args:
        label: what the loop does.
        total: how many `unit` there are; None if it is unknown.
        done: how many were done before.
    """

    def __init__(self, label: str, *, total: int | None, unit: str, done: int = 0) -> None:
        self._label, self._total, self._unit, self._done, self._text = label, total, unit, done, ""
        self._show = _output()
        self._first, self._began = done, monotonic()
        self._points = deque([(self._began, done)])  # of the last 30 s, for the rate
        if total != 0:
            self._report(ended=False)

    def advance(self, num: int = 1, text: str = "") -> None:
        """Count `num` more and set the text."""
        self._done += num
        self._text = text
        if monotonic() - self._points[-1][0] >= SECONDS_BETWEEN_RECORDS:
            self._report(ended=False)

    def close(self) -> None:
        """Show that the loop has ended."""
        self._report(ended=True)

    def _report(self, *, ended: bool) -> None:
        now = monotonic()
        while len(self._points) > 1 and now - self._points[1][0] >= RATE_SECONDS:
            self._points.popleft()
        since, before = (self._began, self._first) if ended else self._points[0]
        rate = (self._done - before) / (now - since) if now > since else 0.0
        self._points.append((now, self._done))
        self._show(
            ProgressRecord(
                label=self._label,
                done=self._done,
                total=self._total,
                unit=self._unit,
                rate=round(rate, 3),
                text=self._text,
                seconds=round(now - self._began, 3),
                ended=ended,
            )
        )


def progress(
    items: Iterable[T],
    *,
    label: str,
    total: int | None = None,
    unit: str = "it",
    size: Callable[[Any], int] | None = None,
) -> Iterator[T]:
    """Yield `items` and show how many `unit` are done, how many per second, and the remaining time.

    Args:
        total: the sum of all sizes; None to use the number of items, if known.
        size: returns how many `unit` an item counts for; None: each counts for one.
    """
    if total is None and isinstance(items, Sized) and size is None:
        total = len(items)
    with closing(Tracker(label, total=total, unit=unit)) as tracker:
        for item in items:
            yield item
            tracker.advance(1 if size is None else size(item))


def text_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return lines with aligned columns: the first column to the left, the others to the right."""
    cells = [headings, *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    padded = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in cells)
    return "\n".join("  ".join(row).rstrip() for row in padded)


def _output() -> Callable[[ProgressRecord], None]:
    if os.environ.get("FCLIP_PROGRESS") == "records":
        return _write_record
    line = _terminal_line() if sys.stderr.isatty() else None
    return _log if line is None else line.show_loop


def _write_record(record: ProgressRecord) -> None:
    with suppress(OSError):  # the parent process has ended; the work goes on
        sys.stderr.write(record.to_line() + "\n")
        sys.stderr.flush()


def _log(record: ProgressRecord) -> None:
    if line_limit.allows(record):
        logger.info("%s", record.describe())


@cache
def _terminal_line() -> LiveLine | None:
    """The live line of this process, which loops within loops share; None without rich or a capable terminal."""
    try:
        from rich.console import Console
    except ImportError:
        return None
    console = Console(stderr=True)
    return LiveLine(console) if console.is_interactive else None


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _duration(seconds: float) -> str:
    """Format as `0:46` or `1:02:46`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"

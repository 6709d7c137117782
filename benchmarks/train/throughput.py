"""How fast a run went: of its steps, those where it had found its pace; and of the whole process."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fclip.errors import UserError

TIMINGS = ["step", "seconds", "wait_seconds", "samples"]
LOG_LINE = re.compile(r"Train Epoch: \d+ \[ *(\d+)/\d+ .*?\] Data \(t\): ([\d.]+) Batch \(t\): ([\d.]+),")


@dataclass(frozen=True)
class StepWindow:
    """Steps in a row: their number, their seconds together, and how many of these they waited for data."""

    steps: int
    seconds: float
    wait_seconds: float


@dataclass(frozen=True)
class TrainingRun:
    """One run, measured.

    Attributes:
        edge_steps: steps to leave out at both ends of an epoch: data workers fill their queues at
            its start and have nothing left to do at its end.
        whole_seconds: of the process, from its start to its end.
        windows: all its steps.
        gpu_bytes: of the GPU's memory, the most that were in use; None on a CPU.
    """

    batch_size: int
    steps_per_epoch: int
    edge_steps: int
    whole_seconds: float
    windows: tuple[StepWindow, ...]
    gpu_bytes: int | None

    @property
    def steady_windows(self) -> tuple[StepWindow, ...]:
        """The windows that lie whole between the first and the last `edge_steps` steps of an epoch."""
        found = []
        begin = 0
        for window in self.windows:
            place = begin % self.steps_per_epoch
            if place >= self.edge_steps and place + window.steps <= self.steps_per_epoch - self.edge_steps:
                found.append(window)
            begin += window.steps
        assert found, "an epoch has no settled step"
        return tuple(found)

    @property
    def rate(self) -> float:
        """Samples a second, once settled."""
        return (
            self.batch_size
            * sum(each.steps for each in self.steady_windows)
            / sum(each.seconds for each in self.steady_windows)
        )

    @property
    def wait_fraction(self) -> float:
        """The share of that time that the model waited for data."""
        return sum(each.wait_seconds for each in self.steady_windows) / sum(
            each.seconds for each in self.steady_windows
        )

    @property
    def whole_rate(self) -> float:
        """Samples a second of the process: start-up, decoding ahead, validation and saving are in it."""
        return self.batch_size * sum(each.steps for each in self.windows) / self.whole_seconds


def read_timings(path: Path) -> tuple[StepWindow, ...]:
    """The steps of a run of fclip.training, from the timings.csv that it leaves."""
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: this fclip.training leaves no timings") from None
    if not rows or rows[0] != TIMINGS:
        raise UserError(f"{path} has not the columns {', '.join(TIMINGS)}")
    return tuple(StepWindow(1, float(seconds), float(wait)) for _, seconds, wait, _ in rows[1:])


def read_log(lines: Sequence[str], batch_size: int) -> tuple[StepWindow, ...]:
    """The steps of a run of open_clip_train, from its log: a line has the mean of the steps since the line before."""
    windows = []
    done = 0
    for line in lines:
        if found := LOG_LINE.search(line):
            step = int(found[1]) // batch_size
            done = 0 if step <= done else done  # another epoch
            steps = step - done
            windows.append(StepWindow(steps, float(found[3]) * steps, float(found[2]) * steps))
            done = step
    return tuple(windows)

"""Progress: records for a parent process, sparse log lines, one live line in a terminal; tables in the log."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fclip import progress as module
from fclip.progress import LineLimit, ProgressRecord, Tracker, progress, text_table
from tests.conftest import REPOSITORY

RECORDS = st.builds(
    ProgressRecord,
    label=st.text(),
    done=st.integers(0),
    total=st.none() | st.integers(0),
    unit=st.text(),
    rate=st.floats(0, allow_infinity=False),
    text=st.text(),
    seconds=st.floats(0, allow_infinity=False),
    ended=st.booleans(),
)


class Clock:
    """A clock that the test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", clock)
    monkeypatch.setattr(module, "line_limit", LineLimit())
    return clock


def slowly(clock: Clock, num: int, seconds: float) -> Iterator[int]:
    """Yield `num` numbers, each after `seconds`."""
    for number in range(num):
        clock.now += seconds
        yield number


def run(clock: Clock, num: int, seconds: float, label: str = "Encoding") -> None:
    for _ in progress(slowly(clock, num, seconds), label=label, total=num, unit="images"):
        pass


@given(RECORDS)
def test_a_record_is_one_line_that_gives_the_record_back(record: ProgressRecord) -> None:
    line = record.to_line()
    assert len(line.splitlines()) <= 2  # the mark is a line boundary for Python, but not for a file
    assert "\n" not in line
    assert ProgressRecord.from_line(line + "\n") == record
    assert record.describe()


@given(st.text() | st.text().map(lambda text: "\x1e" + text) | st.sampled_from(["\x1e{}", "\x1e[1]", '\x1e{"done":1']))
def test_other_lines_are_no_records(line: str) -> None:
    assert ProgressRecord.from_line(line) is None


def test_records_are_written_for_a_parent_process(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FCLIP_PROGRESS", "records")
    run(clock, 100, 0.0625)
    lines = capsys.readouterr().err.removesuffix("\n").split("\n")
    found = [record for line in lines if (record := ProgressRecord.from_line(line))]
    assert len(found) == len(lines) == 27  # at the beginning, every 0.25 s, and at the end
    assert found[0].done == 0
    assert [record.ended for record in found] == [False] * 26 + [True]
    assert found[-1] == ProgressRecord("Encoding", 100, 100, "images", 16.0, "", 6.25, True)


def test_a_loop_without_items_has_one_record(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FCLIP_PROGRESS", "records")
    assert list(progress([], label="Encoding")) == []
    record = ProgressRecord.from_line(capsys.readouterr().err)
    assert record is not None
    assert (record.done, record.rate, record.ended) == (0, 0.0, True)


def test_a_long_loop_logs_every_ten_seconds_and_at_its_end(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    run(clock, 2240, 1 / 64)
    assert caplog.messages == [
        "Encoding 650/2,240 images, 64 images/s, ETA 0:25",
        "Encoding 1,300/2,240 images, 64 images/s, ETA 0:15",
        "Encoding 1,950/2,240 images, 64 images/s, ETA 0:05",
        "Encoding 2,240/2,240 images in 0:35, 64 images/s",
    ]


def test_short_loops_share_a_line_every_ten_seconds(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for model in range(17):  # 17 loops of 1.8 s
        run(clock, 9, 0.2, f"Encoding with {model}")
    assert len(caplog.messages) == 3


def test_a_short_loop_after_other_work_logs_nothing(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for _ in range(3):
        run(clock, 9, 1.0)
        clock.now += 60
    assert caplog.messages == []


def test_slow_items_are_logged_once_each(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    run(clock, 2, 15.0)
    assert caplog.messages == [
        "Encoding 1/2 images, 0.07 images/s, ETA 0:15",
        "Encoding 2/2 images in 0:30, 0.07 images/s",
    ]


def test_the_rate_is_that_of_the_last_thirty_seconds(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    tracker = Tracker("Training", total=7200, unit="images", done=600)
    for rate in (10, 10, 10, 10, 100, 100, 100):  # images per second, for ten seconds each
        for _ in range(10):
            clock.now += 1
            tracker.advance(rate, "loss 1.5")
    tracker.close()
    assert caplog.messages[0] == "Training 700/7,200 images, 10 images/s, ETA 10:50, loss 1.5"
    assert caplog.messages[-2] == "Training 4,000/7,200 images, 100 images/s, ETA 0:32, loss 1.5"
    assert caplog.messages[-1] == "Training 4,000/7,200 images in 1:10, 49 images/s"


def test_a_loop_of_unknown_length_shows_how_much_is_done(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for _ in progress(slowly(clock, 150, 0.1), label="Ingesting", unit="rows"):
        pass
    assert caplog.messages == ["Ingesting 100 rows, 10 rows/s", "Ingesting 150 rows in 0:15, 10 rows/s"]


TERMINAL = """
import logging, sys, time
from fclip.progress import progress
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
for number in progress(range(6), label="Encoding", unit="images"):
    time.sleep(0.1)
    if number == 4:
        logging.warning("a warning")
logging.info("the end")
"""


def test_a_terminal_shows_one_live_line_and_keeps_what_is_logged() -> None:
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "PYTHONPATH": str(REPOSITORY)}
    environment.pop("FCLIP_PROGRESS", None)
    command = [sys.executable, "-c", TERMINAL]
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=follower, stderr=follower, env=environment, check=True)
    os.close(follower)
    shown = os.read(leader, 100_000).decode()
    os.close(leader)
    assert re.search(r"Encoding.*━.*\d/6.*images/s  ETA 0:0", shown)
    *drawn, last = shown.replace("\r\n", "\n").splitlines()
    plain = [re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", line).rpartition("\r")[2].strip() for line in (*drawn, last)]
    assert "a warning" in plain
    assert plain[-1] == "the end"
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # the cursor is visible again


def test_a_table_has_aligned_columns() -> None:
    assert text_table(("model", "val", ""), [("base", "0.5", ""), ("a", "10.25", "x")]).splitlines() == [
        "model    val",
        "base     0.5",
        "a      10.25  x",
    ]

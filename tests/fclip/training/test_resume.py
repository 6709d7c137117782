"""Interrupted at any step and run again, a run ends with the bytes of one that was not interrupted."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fclip.files import sha256_tree
from fclip.training.job import run_job
from fclip.training.loop import Interrupted
from fclip.training.stop import SIGNALS, stop_on_signals
from tests.conftest import REPOSITORY
from tests.fclip.training.training_jobs import make_job


@pytest.mark.parametrize("after", [1, 3, 7, 20])
def test_told_to_stop_after_a_step(after: int, finished: Path, tmp_path: Path, shop: Path, tiny_start: Path) -> None:
    job = make_job(tmp_path / "job", shop, tiny_start)
    with pytest.raises(Interrupted, match=f"after step {after} of 20"):
        run_job(job, stop=lambda step: step >= after)
    assert (job / "work" / "checkpoint.pt").is_file()
    assert not (job / "out").exists()
    assert sha256_tree(run_job(job)) == sha256_tree(finished)
    assert not (job / "work").exists()


def test_told_to_stop_at_every_step(finished: Path, tmp_path: Path, shop: Path, tiny_start: Path) -> None:
    job = make_job(tmp_path / "job", shop, tiny_start)
    stops = iter(range(1, 8))
    for limit in stops:
        with pytest.raises(Interrupted):
            run_job(job, stop=lambda step, limit=limit: step >= limit)
    assert sha256_tree(run_job(job)) == sha256_tree(finished)


def test_told_to_stop_while_preparing_or_validating(
    finished: Path, tmp_path: Path, shop: Path, tiny_start: Path
) -> None:
    job = make_job(tmp_path / "job", shop, tiny_start)
    for calls in range(1, 4):  # two files of pixels, then the start's validation
        left = iter(range(calls))
        with pytest.raises(Interrupted):
            run_job(job, stop=lambda step, left=left: next(left, None) is None)
    assert not list((job / "work").rglob(".*")), "nothing half-written"
    assert sha256_tree(run_job(job)) == sha256_tree(finished)


def test_killed_between_checkpoints(finished: Path, tmp_path: Path, shop: Path, tiny_start: Path) -> None:
    """What a run does after its last checkpoint it does again, the same."""

    class Killed(BaseException):
        pass

    def kill(step: int) -> bool:
        if step == 8:  # checkpoints are after 6 and 7
            raise Killed
        return False

    job = make_job(tmp_path / "job", shop, tiny_start)
    with pytest.raises(Killed):
        run_job(job, stop=kill)
    assert sha256_tree(run_job(job)) == sha256_tree(finished)


def test_a_frozen_text_tower_resumes_too(tmp_path: Path, shop: Path, tiny_start: Path) -> None:
    whole = run_job(make_job(tmp_path / "whole", shop, tiny_start, trainable="image_tower", epochs=2))
    job = make_job(tmp_path / "job", shop, tiny_start, trainable="image_tower", epochs=2)
    with pytest.raises(Interrupted):
        run_job(job, stop=lambda step: step >= 4)
    assert sha256_tree(run_job(job)) == sha256_tree(whole)


def test_sigterm_in_a_process_of_its_own(finished: Path, tmp_path: Path, shop: Path, tiny_start: Path) -> None:
    job = make_job(tmp_path / "job", shop, tiny_start)
    # As `python -m fclip.training` does it, slowed down so that the signal meets it in the middle.
    code = (
        "import sys, time\nimport fclip.training.loop as loop\nfrom fclip.training.__main__ import main\n"
        "step = loop._step\n"
        "def slow(*a, **k):\n    time.sleep(0.2)\n    return step(*a, **k)\n"
        "loop._step = slow\nsys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, str(job)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (job / "work" / "checkpoint.pt").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75, said
    assert "run it again to go on" in said
    assert "Traceback" not in said
    assert sha256_tree(run_job(job)) == sha256_tree(finished)


@pytest.mark.parametrize("number", SIGNALS)
def test_signals_are_noticed_and_handlers_restored(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with stop_on_signals() as stop:
        assert not stop(0)
        signal.raise_signal(number)
        assert stop(1)
        assert [signal.getsignal(each) for each in SIGNALS] == before, "a second one does not wait"
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    seen = []

    def run() -> None:
        with stop_on_signals() as stop:
            seen.append(stop(0))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [False]

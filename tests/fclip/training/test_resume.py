"""A run that is interrupted and resumed gives the same bytes as an uninterrupted run."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from fclip.errors import UserError
from fclip.files import read_json, sha256_tree
from fclip.training.config import AugmentConfig, HeadsFirstConfig, RegularizationConfig
from fclip.training.job import run_job
from fclip.training.stop import SIGNALS, Interrupted, stop_on_signals
from tests.conftest import REPOSITORY
from tests.fclip.training.training_jobs import make_job, make_objective


@pytest.mark.parametrize("after", [1, 3, 7, 20])
def test_interrupted_after_a_step(
    after: int, finished: Path, tmp_path: Path, shop: Path, tiny_base_model: Path
) -> None:
    job = make_job(tmp_path / "job", shop, tiny_base_model)
    with pytest.raises(Interrupted, match=f"after step {after} of 20"):
        run_job(job, stop=lambda step: step >= after)
    assert list((job / "work" / "checkpoints").glob(f"step-{after:08d}-*.pt"))
    assert not (job / "out").exists()
    assert sha256_tree(run_job(job)) == sha256_tree(finished)
    assert not (job / "work").exists()


def test_interrupted_at_every_step(finished: Path, tmp_path: Path, shop: Path, tiny_base_model: Path) -> None:
    job = make_job(tmp_path / "job", shop, tiny_base_model)
    stops = iter(range(1, 8))
    for limit in stops:
        with pytest.raises(Interrupted):
            run_job(job, stop=lambda step, limit=limit: step >= limit)
    assert sha256_tree(run_job(job)) == sha256_tree(finished)


def test_interrupted_during_preparation_or_validation(
    finished: Path, tmp_path: Path, shop: Path, tiny_base_model: Path
) -> None:
    job = make_job(tmp_path / "job", shop, tiny_base_model)
    for calls in range(1, 4):  # decoding of both splits, then validation of the base model
        left = iter(range(calls))
        with pytest.raises(Interrupted):
            run_job(job, stop=lambda step, left=left: next(left, None) is None)
    assert not list((job / "work").rglob(".*")), "no partial files"
    assert sha256_tree(run_job(job)) == sha256_tree(finished)


def test_killed_between_checkpoints(finished: Path, tmp_path: Path, shop: Path, tiny_base_model: Path) -> None:
    """Steps after the last checkpoint are repeated with the same result."""

    class Killed(BaseException):
        pass

    def kill(step: int) -> bool:
        if step == 8:  # there are checkpoints of steps 6 and 7
            raise Killed
        return False

    job = make_job(tmp_path / "job", shop, tiny_base_model)
    with pytest.raises(Killed):
        run_job(job, stop=kill)
    assert sha256_tree(run_job(job)) == sha256_tree(finished)


def test_a_run_with_a_frozen_text_tower_resumes(tmp_path: Path, shop: Path, tiny_base_model: Path) -> None:
    whole = run_job(make_job(tmp_path / "whole", shop, tiny_base_model, trainable="image_tower", epochs=2))
    job = make_job(tmp_path / "job", shop, tiny_base_model, trainable="image_tower", epochs=2)
    with pytest.raises(Interrupted):
        run_job(job, stop=lambda step: step >= 4)
    assert sha256_tree(run_job(job)) == sha256_tree(whole)


EVERYTHING: dict[str, Any] = {
    "trainable": "all",
    "epochs": 2,
    "batch_size": 10,
    "lora_rank": 4,
    "layer_decay": 0.8,
    "last_layers": 1,
    "ema_decay": 0.9,
    "heads_first": HeadsFirstConfig(epochs=1, learning_rate=1e-2),
    "regularization": RegularizationConfig(weights=1.0, similarities=0.5),
    "objective": make_objective(
        loss="siglip", positives="shared", fields={"title": 0.7, "short": 0.3}, hard_negatives=0.5, micro_batch_size=4
    ),
    "augment": AugmentConfig(
        min_crop_area=0.6, flip=True, colour_jitter=0.2, greyscale=0.2, background=0.5, thumbnail=0.3, invert=0.3
    ),
}


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory, shop: Path, tiny_base_model: Path) -> Path:
    return run_job(make_job(tmp_path_factory.mktemp("everything"), shop, tiny_base_model, **EVERYTHING))


@pytest.mark.parametrize("after", [1, 4, 5, 8, 9])
def test_a_run_with_all_options_resumes(
    after: int, everything: Path, tmp_path: Path, shop: Path, tiny_base_model: Path
) -> None:
    """There are twelve steps, the first four of which train only the heads, and candidates after 4, 8 and 12."""
    job = make_job(tmp_path / "job", shop, tiny_base_model, **EVERYTHING)
    with pytest.raises(Interrupted, match=f"after step {after} of 12"):
        run_job(job, stop=lambda step: step >= after)
    assert sha256_tree(run_job(job)) == sha256_tree(everything)


def test_a_damaged_checkpoint_is_skipped(
    finished: Path, tmp_path: Path, shop: Path, tiny_base_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = make_job(tmp_path / "job", shop, tiny_base_model)
    with pytest.raises(Interrupted):
        run_job(job, stop=lambda step: step >= 8)
    older, newest = sorted((job / "work" / "checkpoints").iterdir())
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    with caplog.at_level("INFO"):
        assert sha256_tree(run_job(job)) == sha256_tree(finished)
    assert "The checkpoint of step 8" in caplog.text
    assert f"Resuming from step {int(older.name[5:13])} of 20" in caplog.text
    table = next(message for message in caplog.messages if message.startswith("Trained 20 steps"))
    logged = {row.split()[0]: float(row.split()[-1]) for row in table.splitlines()[2:]}
    assert logged == {
        entry["name"]: pytest.approx(entry["val_loss"], abs=1e-4) for entry in read_json(finished / "candidates.json")
    }


def test_a_full_disk_keeps_the_previous_checkpoint(
    finished: Path, tmp_path: Path, shop: Path, tiny_base_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(tmp_path / "job", shop, tiny_base_model)
    original_save = torch.save

    def full(content: dict[str, Any], path: Path) -> None:
        original_save(content, path)
        if content["step"] == 6:
            os.truncate(path, 1000)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(
        UserError, match=r"the checkpoint of step 6 cannot be written .*No space left on device.*free disk space"
    ):
        run_job(job)
    assert [path.name[:13] for path in (job / "work" / "checkpoints").iterdir()] == ["step-00000003"]
    monkeypatch.setattr(torch, "save", original_save)
    assert sha256_tree(run_job(job)) == sha256_tree(finished)


def test_sigkill_at_any_moment(finished: Path, tmp_path: Path, shop: Path, tiny_base_model: Path) -> None:
    job = make_job(tmp_path / "job", shop, tiny_base_model, checkpoint_every=1)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    for seconds in (0.0, 0.05, 0.15):
        process = subprocess.Popen(
            [sys.executable, "-m", "fclip.training", str(job)], env=environment, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while not list((job / "work").rglob("step-*.pt")) and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
        time.sleep(seconds)
        process.kill()
        process.wait()
    assert sha256_tree(run_job(job)) == sha256_tree(finished)


def test_sigterm_saves_and_exits_with_code_75(
    finished: Path, tmp_path: Path, shop: Path, tiny_base_model: Path
) -> None:
    job = make_job(tmp_path / "job", shop, tiny_base_model)
    # Like `python -m fclip.training`, but slower, so that the signal arrives during training.
    code = (
        "import sys, time\nfrom fclip.training.learner import Learner\nfrom fclip.training.__main__ import main\n"
        "update = Learner.update\n"
        "def slow(*a, **k):\n    time.sleep(0.2)\n    return update(*a, **k)\n"
        "Learner.update = slow\nsys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, str(job)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list((job / "work").rglob("step-*.pt")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, output = process.communicate(timeout=60)
    assert process.returncode == 75, output
    assert "run the command again to resume" in output
    assert "Traceback" not in output
    assert sha256_tree(run_job(job)) == sha256_tree(finished)


@pytest.mark.parametrize("number", SIGNALS)
def test_signals_are_recorded_and_handlers_restored(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with stop_on_signals() as stop:
        assert not stop(0)
        signal.raise_signal(number)
        assert stop(1)
        assert [signal.getsignal(each) for each in SIGNALS] == before, "a second signal has its default effect"
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_other_threads_do_not_handle_signals() -> None:
    seen = []

    def run() -> None:
        with stop_on_signals() as stop:
            seen.append(stop(0))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [False]

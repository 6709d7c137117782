"""Streamed pixels equal cached pixels, and their worker processes always end."""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fclip.errors import UserError
from fclip.images.packs import ImagePacks
from fclip.training import pixel_stream
from fclip.training.loader import PrefetchedBatches
from fclip.training.pixel_cache import image_bytes, open_pixels
from fclip.training.pixel_sources import open_pixel_source
from fclip.training.pixel_stream import StreamedPixels
from fclip.training.stop import never_stop
from tests.conftest import REPOSITORY, eventually
from tests.fclip.training.pictures import PREPROCESS, broken, expected, photograph, write_pictures

IMAGES = [photograph(seed) for seed in range(50)]
DIGESTS = [image.sha256 for image in IMAGES]
PLAN = [np.random.default_rng(seed).integers(0, 50, size) for seed, size in enumerate((16, 1, 23, 8, 8))]


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> ImagePacks:
    return write_pictures(tmp_path_factory.mktemp("packs"), IMAGES)[0]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_stream, "CHUNK_BYTES", 5 * image_bytes(PREPROCESS))


def stream(packs: ImagePacks, digests: list[str] = DIGESTS, num_processes: int = 2) -> StreamedPixels:
    return StreamedPixels(packs, digests, PREPROCESS, num_processes=num_processes)


def processes() -> list[int]:
    return [child.pid for child in multiprocessing.active_children() if child.pid]


@pytest.mark.parametrize("num_processes", [1, 2])
def test_streamed_batches_equal_cached_batches(packs: ImagePacks, tmp_path: Path, num_processes: int) -> None:
    cached = open_pixels(tmp_path, packs, DIGESTS, PREPROCESS, stop=never_stop)
    with stream(packs, num_processes=num_processes) as streamed:
        assert (len(streamed), streamed.size) == (len(cached), cached.size)
        for _ in range(2):
            for found, same in zip(streamed.batches(PLAN), cached.batches(PLAN), strict=True):
                assert found.dtype == torch.uint8
                assert torch.equal(found, same)
        assert len(processes()) == num_processes, "the processes are reused for all plans"
    assert not processes()


def test_the_cache_limit_selects_the_source(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    packs, digests = write_pictures(tmp_path / "packs", IMAGES[:30])
    plan = [np.random.default_rng(seed).permutation(30)[:8] for seed in range(6)]
    num_bytes = 30 * 24 * 24 * 3
    found = []
    for max_bytes in (num_bytes, num_bytes - 1):
        with (
            open_pixel_source(
                tmp_path / "pixels", packs, digests, PREPROCESS, max_bytes=max_bytes, num_processes=1, stop=never_stop
            ) as source,
            PrefetchedBatches(source, plan) as batches,
        ):
            found.append(list(batches))
    assert all(torch.equal(cached, streamed) for cached, streamed in zip(*found, strict=True))
    assert len(found[0]) == len(plan)
    cached, streamed = (record.getMessage() for record in caplog.records if "GB decoded" in record.getMessage())
    assert cached == "Caching 30 images at 24 px (0.00 GB decoded)"
    assert "for every batch in 1 processes, since they exceed finetune.pixel_cache_gb" in streamed


def test_an_unfinished_plan_does_not_affect_the_next(packs: ImagePacks) -> None:
    with stream(packs) as streamed:
        for left in (1, 3):
            batches = streamed.batches(PLAN)
            for _ in range(left):
                next(batches)
        for rows, batch in zip(PLAN[::-1], streamed.batches(PLAN[::-1]), strict=True):
            assert (batch.numpy() == expected([IMAGES[row] for row in rows])).all()


def test_an_undecodable_image_is_named_in_one_line(tmp_path: Path) -> None:
    packs, digests = write_pictures(tmp_path / "packs", [*IMAGES[:5], broken()])
    with stream(packs, digests) as streamed:
        batches = streamed.batches([np.arange(5), np.arange(6)])
        assert len(next(batches)) == 5
        with pytest.raises(UserError) as refused:
            next(batches)
        with pytest.raises(UserError) as same:
            open_pixels(tmp_path / "pixels", packs, digests, PREPROCESS, stop=never_stop)
        assert str(refused.value) == str(same.value)
        assert "\n" not in str(refused.value)
    with stream(packs, ["f" * 64]) as streamed, pytest.raises(UserError, match=r"f{64} is in no pack"):
        next(streamed.batches([np.array([0])]))
    assert not processes()


def test_the_global_random_state_is_not_changed(packs: ImagePacks) -> None:
    torch.manual_seed(5)
    expected_samples = torch.rand(3)
    torch.manual_seed(5)
    with stream(packs) as streamed:
        for _ in streamed.batches(PLAN):
            pass
    assert torch.equal(torch.rand(3), expected_samples)


def test_workers_exit_cleanly_if_a_thread_requests_batches(packs: ImagePacks) -> None:
    for _ in range(3):
        with stream(packs) as streamed:
            with PrefetchedBatches(streamed, PLAN) as batches:
                assert [len(batch) for batch in batches] == [len(rows) for rows in PLAN]
            started = multiprocessing.active_children()
        assert [process.exitcode for process in started] == [0, 0]


def test_killed_workers_are_an_error(packs: ImagePacks) -> None:
    with stream(packs) as streamed:
        batches = streamed.batches(PLAN * 20)
        next(batches)
        for process in processes():
            os.kill(process, signal.SIGKILL)
        with pytest.raises(UserError, match=r"were killed; free memory, or increase finetune.pixel_cache_gb"):
            list(batches)
    assert not processes()


SCRIPT = """
import multiprocessing, os, sys, time
from pathlib import Path
from fclip.training.loader import PrefetchedBatches
from fclip.training.stop import stop_on_signals
from tests.fclip.training.test_pixel_stream import ImagePacks, PLAN, stream

def print_children():
    print(*[child.pid for child in multiprocessing.active_children()], flush=True)
"""
"""Common start of the scripts below. Their output goes to a file, because worker processes would keep a pipe open."""


def run_script(tmp_path: Path, script: str) -> tuple[subprocess.Popen[bytes], Path]:
    """Start a script in its own process group with a folder of packs as argument; return it and its output file."""
    write_pictures(tmp_path / "packs", IMAGES)
    output = tmp_path / "output"
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT + script, str(tmp_path / "packs")],
            cwd=REPOSITORY,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    return process, output


def children(output: Path) -> list[int]:
    eventually(lambda: output.read_text().endswith("\n"), seconds=60)
    return [int(pid) for pid in output.read_text().splitlines()[0].split()]


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "raise RuntimeError"])
def test_workers_end_with_their_parent_process(tmp_path: Path, end: str) -> None:
    script = f"batches = stream(ImagePacks([Path(sys.argv[1])])).batches(PLAN)\nnext(batches)\nprint_children()\n{end}"
    process, output = run_script(tmp_path, script)
    process.wait(60)
    pids = children(output)
    assert len(pids) == 2
    eventually(lambda: not any(_runs(pid) for pid in pids), seconds=30)


def test_a_signal_to_the_process_group_does_not_end_workers(tmp_path: Path) -> None:
    script = """
with stop_on_signals() as stop, stream(ImagePacks([Path(sys.argv[1])])) as source:
    with PrefetchedBatches(source, PLAN * 1000) as batches:
        next(batches)
        print_children()
        while not stop(0):
            time.sleep(0.01)
        for _ in range(20):
            next(batches)
assert not multiprocessing.active_children()
print("finished")
"""
    process, output = run_script(tmp_path, script)
    pids = children(output)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(60) == 0, output.read_text()
    assert output.read_text().endswith("finished\n")
    assert not any(_runs(pid) for pid in pids)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False

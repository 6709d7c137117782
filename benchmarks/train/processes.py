"""One measured command: seconds, what it said, and the GPU memory in use while it ran."""

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.paths import REPOSITORY
from fclip.errors import UserError

SECONDS_BETWEEN_LOOKS = 0.25
QUERY = ("nvidia-smi", "--id=0", "--query-gpu=memory.used", "--format=csv,noheader,nounits")  # MiB


@dataclass(frozen=True)
class FinishedCommand:
    """A command that ended well.

    Attributes:
        began: on the system's clock (`time.time`).
        seconds: from its start to its end.
        output: what it printed, both streams.
        gpu_bytes: the most that were in use on the GPU beyond what was before, as nvidia-smi sees it: context and
            what the allocator keeps are in it. None where it was not watched.
    """

    began: float
    seconds: float
    output: str
    gpu_bytes: int | None


def run_measured(command: Sequence[str], *, cwd: Path, watch_gpu: bool, **environment: str) -> FinishedCommand:
    """Run a command with this checkout's code; raises UserError with the end of its output when it fails."""
    path = os.pathsep.join([environment.pop("PYTHONPATH", ""), str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    values: Mapping[str, str] = {**os.environ, **environment, "PYTHONPATH": path.strip(os.pathsep)}
    before = _gpu_bytes() if watch_gpu else 0
    peak = before
    ended = threading.Event()

    def look() -> None:
        nonlocal peak
        while not ended.wait(SECONDS_BETWEEN_LOOKS):
            peak = max(peak, _gpu_bytes())

    watcher = threading.Thread(target=look, daemon=True)
    if watch_gpu:
        watcher.start()
    began, clock = time.time(), time.perf_counter()
    result = subprocess.run(
        command,
        cwd=cwd,
        env=values,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    seconds = time.perf_counter() - clock
    ended.set()
    if watch_gpu:
        watcher.join()
    if result.returncode:
        raise UserError(f"{' '.join(map(str, command))} failed:\n{result.stdout[-4000:]}")
    return FinishedCommand(began, seconds, result.stdout, peak - before if watch_gpu else None)


def _gpu_bytes() -> int:
    return int(subprocess.run(QUERY, check=True, capture_output=True, text=True).stdout) * 2**20

"""Memory and answers of a service over many requests, also while an index is built and the pointer moves."""

import shutil
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

from benchmarks.serve.client import Job
from benchmarks.serve.processes import Service, finish, start
from benchmarks.serve.workspace import build_again, point_to, publications
from fclip.search.published import Published

MOVE_SECONDS = 10.0
NUM_CLIENTS = 32
SAMPLE_SECONDS = 1.0


def endure(service: Service, job: Job) -> dict[str, Any]:
    """Send the requests of a job, and return their measurements with the memory of the service.

    `memory` has for each tenth of the time the median MiB that the service has of its own, and of all.
    """
    process = start("benchmarks.serve.client", given=asdict(job))
    samples: list[dict[str, float]] = []
    while process.poll() is None:
        samples.append(service.memory())
        time.sleep(SAMPLE_SECONDS)
    result = finish(process)
    return {**result, "memory": {name: tenths([each[name] for each in samples]) for name in ("own", "all")}}


def tenths(values: list[float]) -> list[float]:
    """Return the median of each tenth of the values; of fewer than ten, some are used several times."""
    bounds = [len(values) * number // 10 for number in range(11)]
    return [statistics.median(values[a : max(b, a + 1)]) for a, b in pairwise(bounds)]


@contextmanager
def changing(workspace: Path) -> Iterator[dict[str, int]]:
    """Context in which indexes are built in another process, and the pointer moves every 10 seconds.

    Yields:
        The numbers of moves and of builds.
    """
    numbers = {"moves": 0, "builds": 0}
    stop = threading.Event()

    def move() -> None:
        for publication in cycle(reversed(publications(workspace))):
            if stop.wait(MOVE_SECONDS):
                return
            point_to(workspace, publication)
            numbers["moves"] += 1

    def build() -> None:
        while not stop.is_set():
            finish(start("benchmarks.serve.endurance", workspace, given=None))
            numbers["builds"] += 1

    threads = [threading.Thread(target=each) for each in (move, build)]
    for thread in threads:
        thread.start()
    try:
        yield numbers
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        point_to(workspace, publications(workspace)[0])


def main() -> None:
    """Build the first index of a workspace again, beside it, and delete it."""
    workspace = Path(sys.argv[1])
    target = Published(workspace / "published").indexes / "built-again"
    shutil.rmtree(target, ignore_errors=True)
    build_again(workspace, target)
    shutil.rmtree(target)
    print("{}")


if __name__ == "__main__":
    main()

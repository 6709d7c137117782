"""The encoder and the index called in one process: what the service is compared with.

python -m benchmarks.serve.in_process WORKSPACE load < JOB          time queries of 1, 8 and 32 callers
python -m benchmarks.serve.in_process WORKSPACE expected < TEXTS    print what each index finds: index -> text -> ids
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks.serve.client import latencies
from benchmarks.serve.workspace import publications
from fclip.search.index import Index
from fclip.search.published import Published
from fclip.search.query import Query

K = 10
NUM_WARM_UP = 50


def load(workspace: Path, texts: Sequence[str], num_requests: int, callers: Sequence[int]) -> dict[str, Any]:
    """Return, by number of callers, the latencies of threads that ask one query at a time, and the seconds of batches.

    With n callers, n threads ask the queries, and then one thread asks n queries at once.
    """
    index = Index.open(workspace)
    for text in texts[:NUM_WARM_UP]:
        index.find([Query(text=text)], k=K)
    return {str(number): _measure(index, list(islice(cycle(texts), num_requests)), number) for number in callers}


def _measure(index: Index, texts: Sequence[str], callers: int) -> dict[str, Any]:
    def one(text: str) -> float:
        began = time.perf_counter()
        index.find([Query(text=text)], k=K)
        return time.perf_counter() - began

    def threads() -> list[float]:
        if callers == 1:
            return [one(text) for text in texts]
        with ThreadPoolExecutor(callers) as pool:
            return list(pool.map(one, texts))

    def batches() -> list[float]:
        starts = range(0, len(texts), callers)
        for start in starts:
            index.find([Query(text=text) for text in texts[start : start + callers]], k=K)
        return []

    seconds, each = _timed(threads)
    return {"threads_seconds": seconds, "batches_seconds": _timed(batches)[0], **latencies(each)}


def _timed(run: Callable[[], list[float]]) -> tuple[float, list[float]]:
    began = time.perf_counter()
    result = run()
    return time.perf_counter() - began, result


def expected(workspace: Path, texts: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """Return the ids of the products that each index finds for each text."""
    published = Published(workspace / "published")
    result = {}
    for publication in publications(workspace):
        found = Index(published, "champion", publication).find([Query(text=text) for text in texts], k=K)
        result[publication.index] = {
            text: [hit.product_id for hit in hits] for text, hits in zip(texts, found, strict=True)
        }
    return result


def main() -> None:
    workspace, what = Path(sys.argv[1]), sys.argv[2]
    job = json.load(sys.stdin)
    print(json.dumps(load(workspace, **job) if what == "load" else expected(workspace, **job)))


if __name__ == "__main__":
    main()

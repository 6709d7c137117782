"""Clients of the service in one process: each sends its next request when its reply is complete.

python -m benchmarks.serve.client < JOB   one object of JSON with the fields of `Job`; prints one of the measurements

The protocol is written out here, since a client library would take as much time of the processor as the service.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from fclip.files import read_json

MAX_PROBLEMS = 5
NEAR_TIES = 2  # results that may differ, since rounding depends on the batch


@dataclass(frozen=True)
class Job:
    """What to send.

    Attributes:
        texts: to search for, in turn; empty to ask for /healthz.
        expected: JSON file: index -> text -> product ids, with which each reply is compared; "" for none.
    """

    port: int
    num_clients: int
    num_requests: int
    texts: list[str]
    k: int = 10
    expected: str = ""


@dataclass
class Record:
    """What came back. `seconds`: of each request. `indexes`: replies by index."""

    seconds: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    num_problems: int = 0
    indexes: dict[str, int] = field(default_factory=dict)

    def add_problem(self, problem: str) -> None:
        self.num_problems += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem[:500])


class Client(asyncio.Protocol):
    """One connection, which is kept alive."""

    def __init__(self, requests: Iterator[tuple[str, bytes]], record: Record, checker: "Checker | None") -> None:
        self._requests, self._record, self._checker = requests, record, checker
        self._buffer = b""
        self._text, self._began = "", 0.0
        self._transport: asyncio.Transport | None = None
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._record.seconds.append(time.perf_counter() - self._began)
        self._buffer = b""
        if not head.startswith(b"HTTP/1.1 200"):
            self._record.add_problem(f"{self._text}: {head.decode('latin-1')} {body.decode(errors='replace')}")
        elif self._checker:
            self._checker.check(self._text, head, body, self._record)
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self._record.add_problem(f"the connection ended: {exc}")
            self.done.set_result(None)

    def _send(self) -> None:
        assert self._transport is not None
        request = next(self._requests, None)
        if request is None:
            self.done.set_result(None)
            self._transport.close()
            return
        self._text, content = request
        self._began = time.perf_counter()
        self._transport.write(content)


@dataclass(frozen=True)
class Checker:
    """Compares replies with what each index finds."""

    expected: Mapping[str, Mapping[str, Sequence[str]]]

    def check(self, text: str, head: bytes, body: bytes, record: Record) -> None:
        """Count the index of a reply, and note a problem if its results are not those of the index that it names."""
        reply = json.loads(body)
        index, found = reply["index"], [result["product_id"] for result in reply["results"]]
        record.indexes[index] = record.indexes.get(index, 0) + 1
        wanted = self.expected[index][text]
        if f"fclip-index: {index}".encode() not in head or not index.startswith(reply["model_sha256"][:16]):
            record.add_problem(
                f"{text}: index and model of the reply differ: {reply['index']}, {reply['model_sha256']}"
            )
        if len(found) != len(wanted) or len(set(wanted) - set(found)) > NEAR_TIES:
            record.add_problem(f"{text}: the index {index} gives {wanted}, the reply has {found}")


async def run(job: Job) -> dict[str, Any]:
    """Send the requests, and return seconds, those of the processor, latencies, and problems."""
    record = Record()
    checker = Checker(read_json(Path(job.expected))) if job.expected else None
    requests = islice(cycle(encoded(job)), job.num_requests)
    loop = asyncio.get_running_loop()
    began, cpu = time.perf_counter(), time.process_time()
    clients = []
    for _ in range(job.num_clients):
        _, client = await loop.create_connection(lambda: Client(requests, record, checker), "127.0.0.1", job.port)
        clients.append(client)
    await asyncio.gather(*(client.done for client in clients))
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
        **latencies(record.seconds),
        "num_problems": record.num_problems,
        "problems": record.problems,
        "indexes": record.indexes,
    }


def latencies(seconds: Sequence[float]) -> dict[str, float]:
    """Return the median, the 99th percentile and the maximum, in milliseconds."""
    p50, p99, worst = np.percentile(seconds, (50, 99, 100)) * 1000
    return {"p50_ms": round(p50, 3), "p99_ms": round(p99, 3), "max_ms": round(worst, 3)}


def encoded(job: Job) -> list[tuple[str, bytes]]:
    """Return the different requests with their texts."""
    host = f"HTTP/1.1\r\nHost: 127.0.0.1:{job.port}\r\n"
    if not job.texts:
        return [("", f"GET /healthz {host}\r\n".encode())]
    result = []
    for text in job.texts:
        body = json.dumps({"text": text, "k": job.k}).encode()
        header = f"POST /v1/search {host}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        result.append((text, header.encode() + body))
    return result


def main() -> None:
    print(json.dumps(asyncio.run(run(Job(**json.load(sys.stdin))))))


if __name__ == "__main__":
    main()

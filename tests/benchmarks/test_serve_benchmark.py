"""The clients of the benchmark measure each request, and see errors and answers that are not those of one index."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from benchmarks.serve.client import Job, run
from benchmarks.serve.endurance import tenths
from benchmarks.serve.report import growth
from fclip.files import write_json

A, B = "a" * 16 + "-1", "b" * 16 + "-2"
IDS = {A: [f"a{n}" for n in range(10)], B: [f"b{n}" for n in range(10)]}


def reply(index: str, ids: list[str], *, status: str = "200 OK", named: str = "") -> bytes:
    results = [{"product_id": each} for each in ids]
    body = json.dumps({"index": index, "model_sha256": index[:16] + "0" * 48, "results": results}).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nfclip-index: {named or index}\r\n\r\n"
    return head.encode() + body


def measured(replies: list[bytes], expected: Path) -> dict[str, Any]:
    """The measurements of two clients, to which a server gives each reply once, in two pieces."""

    async def measure() -> dict[str, Any]:
        waiting = list(reversed(replies))
        server = await asyncio.start_server(answering(waiting), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            return await run(Job(port, 2, len(replies), ["red"], expected=str(expected)))

    return asyncio.run(measure())


def answering(waiting: list[bytes]) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                await reader.readexactly(int(head.partition("content-length: ")[2].partition("\r\n")[0]))
                content = waiting.pop()
                for part in (content[:30], content[30:]):
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0.001)
        except asyncio.IncompleteReadError:
            writer.close()

    return serve


def test_clients_see_errors_and_mixed_answers(tmp_path: Path) -> None:
    expected = tmp_path / "expected.json"
    write_json(expected, {index: {"red": ids} for index, ids in IDS.items()})
    good = [reply(A, IDS[A]), reply(B, IDS[B]), reply(A, [*IDS[A][:8], "near", "tie"])]
    found = measured(good * 10, expected)
    assert (found["num_problems"], found["problems"]) == (0, [])
    assert found["indexes"] == {A: 20, B: 10}
    assert 0 < found["p50_ms"] <= found["p99_ms"] <= found["max_ms"]
    bad = [
        reply(A, IDS[B]),  # the results of the other index
        reply(A, IDS[A][:9]),
        reply(A, IDS[A], named=B),
        reply(A, IDS[A], status="503 Service Unavailable"),
    ]
    assert measured(good + bad, expected)["num_problems"] == len(bad)


def test_growth_is_from_the_second_tenth_to_the_last_one() -> None:
    own = tenths([50.0] * 10 + [100.0] * 80 + [110.0] * 10)
    assert len(own) == 10
    assert round(growth({"memory": {"own": own}}), 6) == 0.1
    assert tenths([1.0, 2.0]) == [1.0] * 5 + [2.0] * 5

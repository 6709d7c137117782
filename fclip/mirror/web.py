"""Fetch many URLs concurrently. Each host has its own workers, so that a slow host does not delay the others."""

import asyncio
import contextlib
import queue
import random
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from fclip.mirror.config import DownloadConfig
from fclip.mirror.http import HttpClient, ResponseLimits
from fclip.mirror.retry import TransientError, backoff
from fclip.mirror.store import FetchResult, MirrorEntry, MirrorStore, record_result

GIVE_UP_AFTER = 20  # consecutive failed addresses of a host; trying the rest could take days


@dataclass
class _Host:
    waiting: deque[str] = field(default_factory=deque)
    failed_in_a_row: int = 0
    closed_until: float = 0.0  # by Retry-After, monotonic seconds


def fetch_web(
    addresses: Iterable[str], store: MirrorStore, config: DownloadConfig, limits: ResponseLimits
) -> Iterator[FetchResult]:
    """Request each URL once, conditionally if it is stored, and yield the results as they arrive.

    Each response is in the store before its result is yielded. The requests run in a thread with its own event loop.
    Closing the iterator ends them.
    """
    hosts: defaultdict[str, _Host] = defaultdict(_Host)
    failed = []
    for address in addresses:
        before = store.get(address)
        if before is not None and before.status == "failed":
            failed.append(address)
        else:
            hosts[_host(address)].waiting.append(address)
    random.shuffle(failed)  # last and in random order: they may cause the host to be given up
    for address in failed:
        hosts[_host(address)].waiting.append(address)

    async def main(report: Callable[[FetchResult], None]) -> None:
        async with HttpClient.opened(config, store) as client, asyncio.TaskGroup() as workers:
            for host in hosts.values():
                for _ in range(min(config.per_host, len(host.waiting))):
                    workers.create_task(work(client, host, report))

    async def work(client: HttpClient, host: _Host, report: Callable[[FetchResult], None]) -> None:
        while host.waiting:
            address = host.waiting.popleft()
            before = store.get(address)
            report(record_result(store, address, before, await fetch(client, host, address, before)))

    async def fetch(client: HttpClient, host: _Host, address: str, before: MirrorEntry | None) -> MirrorEntry:
        for attempt in range(config.retries + 1):
            await asyncio.sleep(host.closed_until - time.monotonic())
            if host.failed_in_a_row >= GIVE_UP_AFTER:
                return MirrorEntry("failed", detail=f"not requested: the {GIVE_UP_AFTER} addresses before it failed")
            try:
                entry = await client.fetch(address, before, limits)
            except TransientError as error:
                detail, whole_host = str(error), error.whole_host
                if error.wait_s is not None:
                    host.closed_until = max(host.closed_until, time.monotonic() + error.wait_s)
                elif attempt < config.retries:
                    await asyncio.sleep(backoff(attempt))
            else:
                host.failed_in_a_row = 0
                return entry
        host.failed_in_a_row += whole_host
        return MirrorEntry("failed", detail=detail)

    yield from _in_thread(main)


def _host(address: str) -> str:
    return urlsplit(address).netloc.rpartition("@")[2].lower()


def _in_thread(main: Callable[[Callable[[FetchResult], None]], Coroutine[None, None, None]]) -> Iterator[FetchResult]:
    """Yield the results that a coroutine reports. It runs in a thread, since callers may have a running event loop."""
    reported: queue.SimpleQueue[FetchResult | BaseException | None] = queue.SimpleQueue()
    runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
    loop = runner.get_loop()

    def run() -> None:
        with runner:
            try:
                runner.run(main(reported.put))
            except BaseException as error:
                reported.put(error)
            else:
                reported.put(None)

    def cancel() -> None:
        for task in asyncio.all_tasks(loop):
            task.cancel()

    thread = threading.Thread(target=run, name="mirror", daemon=True)
    thread.start()
    ended = False
    try:
        while not ended:
            report = reported.get()
            if isinstance(report, FetchResult):
                yield report
                continue
            ended = True
            if isinstance(report, BaseExceptionGroup):
                raise report.exceptions[0]
            if report is not None:
                raise report
    finally:
        if not ended:
            with contextlib.suppress(RuntimeError):  # the coroutine has ended and its loop is closed
                loop.call_soon_threadsafe(cancel)
        thread.join()

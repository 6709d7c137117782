"""Many URLs asked at once: each host by a few workers of its own, so that a slow one holds up no other."""

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
from fclip.mirror.http import HttpClient, Wanted
from fclip.mirror.retry import Transient, backoff
from fclip.mirror.store import Entry, Look, Store, settle

GIVE_UP_AFTER = 20  # addresses of a host that failed in a row: the rest would take days to fail


@dataclass
class _Host:
    waiting: deque[str] = field(default_factory=deque)
    failed_in_a_row: int = 0
    closed_until: float = 0.0  # by Retry-After, in the loop's time


def ask_web(addresses: Iterable[str], store: Store, config: DownloadConfig, wanted: Wanted) -> Iterator[Look]:
    """Ask each URL once, conditionally where it is stored, and yield what came of it, as it comes.

    Every answer is in the store before it is yielded. Runs in a thread with an event loop of its own; closing the
    iterator ends it.
    """
    hosts: defaultdict[str, _Host] = defaultdict(_Host)
    failed = []
    for address in addresses:
        before = store.get(address)
        if before is not None and before.status == "failed":
            failed.append(address)
        else:
            hosts[_host(address)].waiting.append(address)
    random.shuffle(failed)  # last, and never the same ones first: a host may be given up because of them
    for address in failed:
        hosts[_host(address)].waiting.append(address)

    async def main(report: Callable[[Look], None]) -> None:
        async with HttpClient.opened(config, store) as client, asyncio.TaskGroup() as workers:
            for host in hosts.values():
                for _ in range(min(config.per_host, len(host.waiting))):
                    workers.create_task(work(client, host, report))

    async def work(client: HttpClient, host: _Host, report: Callable[[Look], None]) -> None:
        while host.waiting:
            address = host.waiting.popleft()
            before = store.get(address)
            report(settle(store, address, before, await ask(client, host, address, before)))

    async def ask(client: HttpClient, host: _Host, address: str, before: Entry | None) -> Entry:
        for attempt in range(config.retries + 1):
            await asyncio.sleep(host.closed_until - time.monotonic())
            if host.failed_in_a_row >= GIVE_UP_AFTER:
                return Entry("failed", detail=f"not asked: the {GIVE_UP_AFTER} addresses before it failed")
            try:
                entry = await client.ask(address, before, wanted)
            except Transient as error:
                detail, of_host = str(error), error.of_host
                if error.wait_s is not None:
                    host.closed_until = max(host.closed_until, time.monotonic() + error.wait_s)
                elif attempt < config.retries:
                    await asyncio.sleep(backoff(attempt))
            else:
                host.failed_in_a_row = 0
                return entry
        host.failed_in_a_row += of_host
        return Entry("failed", detail=detail)

    yield from _in_thread(main)


def _host(address: str) -> str:
    return urlsplit(address).netloc.rpartition("@")[2].lower()


def _in_thread(main: Callable[[Callable[[Look], None]], Coroutine[None, None, None]]) -> Iterator[Look]:
    """What a coroutine reports, while it runs; callers may have an event loop of their own."""
    reported: queue.SimpleQueue[Look | BaseException | None] = queue.SimpleQueue()
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
            if isinstance(report, Look):
                yield report
                continue
            ended = True
            if isinstance(report, BaseExceptionGroup):
                raise report.exceptions[0]
            if report is not None:
                raise report
    finally:
        if not ended:
            with contextlib.suppress(RuntimeError):  # it has ended meanwhile, and its loop is closed
                loop.call_soon_threadsafe(cancel)
        thread.join()

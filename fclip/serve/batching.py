"""Batches: inputs of concurrent requests that arrive while a computation runs are computed together."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from fclip.serve.errors import Busy

Outputs = Sequence[Any] | NDArray[Any]
Compute = Callable[[list[Any]], Outputs]
"""Returns one output for each input, in their order."""


@dataclass(frozen=True)
class _Part:
    """Inputs of one request, at most a batch, and the future of their outputs."""

    key: Hashable
    compute: Compute
    inputs: Sequence[Any]
    outputs: "asyncio.Future[Outputs]"


class Batcher:
    """Computes inputs in batches. A batch has inputs of one key, for example of one model.

    Batches run in one thread, one after the other. What arrives while one runs is the next batch. An idle thread waits
    a few milliseconds for more if the last batch was of several requests, so a single client never waits. Use in one
    event loop.
    """

    def __init__(self, *, batch_size: int, wait_ms: float, max_waiting: int) -> None:
        """Args: wait_ms: how long an idle thread waits for more. max_waiting: inputs that may wait."""
        self._batch_size = batch_size
        self._wait = wait_ms / 1000
        self._max_waiting = max_waiting
        self._waiting: deque[_Part] = deque()
        self._num_waiting = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._worker: asyncio.Task[None] | None = None
        self._has_company = False  # whether the last batch was of several requests
        self.num_batches = 0
        self.num_inputs = 0

    async def run(self, key: Hashable, compute: Compute, inputs: Sequence[Any]) -> list[Any]:
        """Return one output for each input.

        Args:
            compute: what computes a batch; the same for all inputs of a key.

        Raises:
            Busy: too many inputs wait.
        """
        if self._num_waiting and self._num_waiting + len(inputs) > self._max_waiting:
            raise Busy("too many requests wait; try again in a second")
        loop = asyncio.get_running_loop()
        starts = range(0, len(inputs), self._batch_size)
        parts = [_Part(key, compute, inputs[s : s + self._batch_size], loop.create_future()) for s in starts]
        self._waiting.extend(parts)
        self._num_waiting += len(inputs)
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._work())
        return [each for outputs in await asyncio.gather(*(part.outputs for part in parts)) for each in outputs]

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _work(self) -> None:
        """Run batches until nothing waits."""
        await asyncio.sleep(self._wait if self._has_company else 0)
        while self._waiting:
            batch = self._next()
            inputs = [each for part in batch for each in part.inputs]
            self.num_batches += 1
            self.num_inputs += len(inputs)
            self._has_company = len(batch) > 1
            try:
                outputs = await asyncio.get_running_loop().run_in_executor(self._thread, batch[0].compute, inputs)
            except Exception as error:
                for part in batch:
                    if not part.outputs.done():
                        part.outputs.set_exception(error)
                continue
            start = 0
            for part in batch:
                if not part.outputs.done():  # otherwise the client is gone
                    part.outputs.set_result(outputs[start : start + len(part.inputs)])
                start += len(part.inputs)

    def _next(self) -> list[_Part]:
        """Take the first part that waits, and later ones of the same key that fit into a batch."""
        batch, number, others = [self._waiting.popleft()], 0, deque[_Part]()
        number = len(batch[0].inputs)
        while self._waiting:
            part = self._waiting.popleft()
            if part.outputs.done():
                self._num_waiting -= len(part.inputs)
            elif part.key == batch[0].key and number + len(part.inputs) <= self._batch_size:
                batch.append(part)
                number += len(part.inputs)
            else:
                others.append(part)
        self._waiting = others
        self._num_waiting -= number
        return batch

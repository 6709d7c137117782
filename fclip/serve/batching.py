"""Embedding in batches: inputs of concurrent requests that arrive within a few milliseconds are computed together."""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fclip.runtime.model import Model
from fclip.serve.errors import Busy

Kind = Literal["text", "pixels"]
FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class _Part:
    """Inputs of one request, at most a batch, and the future of their vectors."""

    model: Model
    kind: Kind
    inputs: Sequence[Any]
    vectors: "asyncio.Future[FloatArray]"

    def fits(self, other: "_Part") -> bool:
        return self.model is other.model and self.kind == other.kind


class Batcher:
    """Embeds texts and pixels. A batch has inputs of one model and one kind.

    The model runs in one thread, with all cores. What arrives while it runs is the next batch. Use in one event loop.
    """

    def __init__(self, *, batch_size: int, wait_ms: float, max_waiting: int) -> None:
        """Args: wait_ms: how long an idle model waits for more. max_waiting: inputs that may wait."""
        self._batch_size = batch_size
        self._wait = wait_ms / 1000
        self._max_waiting = max_waiting
        self._waiting: deque[_Part] = deque()
        self._num_waiting = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._worker: asyncio.Task[None] | None = None
        self.num_batches = 0
        self.num_inputs = 0

    async def embed(self, model: Model, kind: Kind, inputs: Sequence[Any]) -> FloatArray:
        """Return the embeddings of inputs that were checked, float32 [n, dim].

        Args:
            inputs: texts, or pixels as uint8 [size, size, 3].

        Raises:
            Busy: too many inputs wait.
        """
        if not inputs:
            return np.empty((0, model.dim), np.float32)
        if self._num_waiting and self._num_waiting + len(inputs) > self._max_waiting:
            raise Busy("too many requests wait for the model; try again in a second")
        loop = asyncio.get_running_loop()
        starts = range(0, len(inputs), self._batch_size)
        parts = [_Part(model, kind, inputs[s : s + self._batch_size], loop.create_future()) for s in starts]
        self._waiting.extend(parts)
        self._num_waiting += len(inputs)
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._work())
        return np.concatenate(await asyncio.gather(*(part.vectors for part in parts)))

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _work(self) -> None:
        """Run batches until nothing waits."""
        await asyncio.sleep(self._wait)
        while self._waiting:
            batch = self._next()
            first, inputs = batch[0], [each for part in batch for each in part.inputs]
            self.num_batches += 1
            self.num_inputs += len(inputs)
            try:
                run = asyncio.get_running_loop().run_in_executor
                vectors = await run(self._thread, _embed, first.model, first.kind, inputs)
            except Exception as error:
                for part in batch:
                    if not part.vectors.done():
                        part.vectors.set_exception(error)
                continue
            start = 0
            for part in batch:
                if not part.vectors.done():  # otherwise the client is gone
                    part.vectors.set_result(vectors[start : start + len(part.inputs)])
                start += len(part.inputs)

    def _next(self) -> list[_Part]:
        """Take the first part that waits, and later ones of the same model and kind that fit into a batch."""
        batch, number, others = [self._waiting.popleft()], 0, deque[_Part]()
        number = len(batch[0].inputs)
        while self._waiting:
            part = self._waiting.popleft()
            if part.vectors.done():
                self._num_waiting -= len(part.inputs)
            elif part.fits(batch[0]) and number + len(part.inputs) <= self._batch_size:
                batch.append(part)
                number += len(part.inputs)
            else:
                others.append(part)
        self._waiting = others
        self._num_waiting -= number
        return batch


def _embed(model: Model, kind: Kind, inputs: list[Any]) -> FloatArray:
    if kind == "text":
        return model.embed_texts(inputs)
    return model.encode_pixels(np.stack(inputs))

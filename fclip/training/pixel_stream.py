"""Pixels of image sets that are too large to cache: worker processes decode them for each batch."""

import os
from collections.abc import Iterator, Sequence
from itertools import cycle
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from fclip.errors import UserError
from fclip.images.packs import ImagePacks
from fclip.models.preprocess import Preprocess
from fclip.training.pixel_cache import decode_image, image_bytes
from fclip.training.torch_private import stop_workers

CHUNK_BYTES = 2**20
"""Size of the chunk that a process decodes at a time. Small chunks let all processes work on one batch."""
PREFETCHED_CHUNKS = 2
"""Chunks per process that are decoded in advance."""
WORKER_LOST = ("exited unexpectedly", "killed by signal")

Chunk = tuple[int, NDArray[np.int64]]
"""A slot of the shared memory, and the rows whose pixels are written to it."""


class StreamedPixels:
    """Pixels equal to those of `fclip.training.pixel_cache.Pixels`, for batches that are known in advance.

    Use as a context manager: its processes end on exit, or when the process that created it ends. The processes write
    pixels to shared memory and return errors as values, because a DataLoader would wrap exceptions in a traceback.
    """

    def __init__(
        self, packs: ImagePacks, digests: Sequence[str], preprocess: Preprocess, *, num_processes: int
    ) -> None:
        self.size = preprocess.size
        self._num_images = len(digests)
        rows = max(1, CHUNK_BYTES // image_bytes(preprocess))
        # One slot more than the loader has in progress: the slot that is being read.
        shape = (PREFETCHED_CHUNKS * num_processes + 1, rows, preprocess.size, preprocess.size, 3)
        shared = torch.empty(shape, dtype=torch.uint8).share_memory_()
        self._shared: NDArray[np.uint8] = shared.numpy()
        self._chunks = _Chunks(len(shared), rows)
        self._loader: DataLoader[UserError | None] = DataLoader(
            _Decoder(packs, digests, preprocess, shared),
            batch_size=None,  # a chunk is one item
            sampler=self._chunks,
            num_workers=num_processes,
            prefetch_factor=PREFETCHED_CHUNKS,
            worker_init_fn=_leave_process_group,
            persistent_workers=True,
            generator=torch.Generator(),  # else it would use the global generator, which dropout uses
        )

    def __len__(self) -> int:
        return self._num_images

    def __enter__(self) -> "StreamedPixels":
        # Start the processes in this thread: a process forked from a pool's thread fails at exit, joining that thread.
        iter(self._loader)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def batches(self, plan: Sequence[NDArray[np.int64]], *, pinned: bool = False) -> Iterator[torch.Tensor]:
        """Yield batches as `Pixels.batches` does. A new call ends the previous iteration.

        Raises:
            UserError: an image is in no pack or cannot be decoded (the message has its digest), or a process died.
        """
        self._chunks.plan = plan
        done, chunks = iter(self._loader), iter(self._chunks)
        for rows in plan:
            batch = torch.empty((len(rows), self.size, self.size, 3), dtype=torch.uint8, pin_memory=pinned)
            pixels, filled = batch.numpy(), 0
            while filled < len(rows):
                slot, chunk_rows = next(chunks)
                _wait(done)
                pixels[filled : filled + len(chunk_rows)] = self._shared[slot, : len(chunk_rows)]
                filled += len(chunk_rows)
            yield batch

    def close(self) -> None:
        """End the processes."""
        stop_workers(self._loader)


class _Chunks(Sampler[Chunk]):
    """Splits the batches of a plan into chunks and assigns the slots in rotation. A chunk never spans two batches."""

    def __init__(self, num_slots: int, num_rows: int) -> None:
        self.plan: Sequence[NDArray[np.int64]] = ()
        self._num_slots, self._num_rows = num_slots, num_rows

    def __iter__(self) -> Iterator[Chunk]:
        plan, slots = self.plan, cycle(range(self._num_slots))
        for rows in plan:
            for begin in range(0, len(rows), self._num_rows):
                yield next(slots), rows[begin : begin + self._num_rows]


class _Decoder(Dataset[UserError | None]):
    """Decodes a chunk into its slot. The item of a chunk is None, or the error."""

    def __init__(self, packs: ImagePacks, digests: Sequence[str], preprocess: Preprocess, shared: torch.Tensor) -> None:
        self._packs, self._digests, self._preprocess, self._shared = packs, digests, preprocess, shared

    def __getitem__(self, chunk: Chunk) -> UserError | None:
        slot, rows = chunk
        digests = [self._digests[row] for row in rows]
        pixels = self._shared[slot].numpy()
        try:
            for number, content in enumerate(self._packs.read_many(digests)):
                pixels[number] = decode_image(digests[number], content, self._preprocess)
        except UserError as error:
            return error
        return None


def _wait(done: Iterator[UserError | None]) -> None:
    """Wait for the next chunk and raise its error, if any."""
    try:
        error = next(done)
    except RuntimeError as failure:
        if not any(sign in str(failure) for sign in WORKER_LOST):
            raise
        raise UserError(
            "the processes that decode images were killed; free memory, or increase finetune.pixel_cache_gb in "
            "params.yaml so that decoded images are cached"
        ) from failure
    if error is not None:
        raise error


def _leave_process_group(worker: int) -> None:
    # A signal to the process group must reach only the training process, which finishes its step and then ends these.
    os.setpgrp()

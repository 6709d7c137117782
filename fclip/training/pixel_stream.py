"""Pixels of images that are too many to be kept decoded: worker processes decode them for each batch."""

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
from fclip.models.store import Preprocess
from fclip.training.pixel_cache import decode_named, image_bytes
from fclip.training.torch_private import stop_workers

CHUNK_BYTES = 2**20
"""Pixels that a process makes at a time: little, so that all work on one batch and share little memory."""
AHEAD = 2
"""Chunks that wait for each process, or for whoever asks for batches."""
LOST = ("exited unexpectedly", "killed by signal")

Chunk = tuple[int, NDArray[np.int64]]
"""A place in the shared memory, and the rows whose pixels go there."""


class StreamedPixels:
    """The same pixels as `fclip.training.pixel_cache.Pixels`, bit for bit, for batches that are known beforehand.

    A context manager: its processes end when it is left, or when the process that made it does. They hand over pixels
    in memory that is shared from the start, and what went wrong as values: a loader would wrap it in a traceback.
    """

    def __init__(
        self, packs: ImagePacks, digests: Sequence[str], preprocess: Preprocess, *, num_processes: int
    ) -> None:
        self.size = preprocess.size
        self._num_images = len(digests)
        rows = max(1, CHUNK_BYTES // image_bytes(preprocess))
        # One more than the loader has under way: the one that is being read.
        shape = (AHEAD * num_processes + 1, rows, preprocess.size, preprocess.size, 3)
        shared = torch.empty(shape, dtype=torch.uint8).share_memory_()
        self._shared: NDArray[np.uint8] = shared.numpy()
        self._chunks = _Chunks(len(shared), rows)
        self._loader: DataLoader[UserError | None] = DataLoader(
            _Decoder(packs, digests, preprocess, shared),
            batch_size=None,  # a chunk is one item
            sampler=self._chunks,
            num_workers=num_processes,
            prefetch_factor=AHEAD,
            worker_init_fn=_leave_group,
            persistent_workers=True,
            generator=torch.Generator(),  # or it would draw from the one that dropout draws from
        )

    def __len__(self) -> int:
        return self._num_images

    def __enter__(self) -> "StreamedPixels":
        # The processes start here: one that is forked in a thread of a pool fails as it ends, as it waits for itself.
        iter(self._loader)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def batches(self, plan: Sequence[NDArray[np.int64]], *, pinned: bool = False) -> Iterator[torch.Tensor]:
        """As `Pixels.batches`. One at a time: a plan is left where another is begun.

        Raises:
            UserError: an image is in no pack or cannot be decoded (the message names it), or the processes were killed.
        """
        self._chunks.plan = plan
        done, chunks = iter(self._loader), iter(self._chunks)
        for rows in plan:
            batch = torch.empty((len(rows), self.size, self.size, 3), dtype=torch.uint8, pin_memory=pinned)
            pixels, filled = batch.numpy(), 0
            while filled < len(rows):
                place, own = next(chunks)
                _wait(done)
                pixels[filled : filled + len(own)] = self._shared[place, : len(own)]
                filled += len(own)
            yield batch

    def close(self) -> None:
        """End the processes."""
        stop_workers(self._loader)


class _Chunks(Sampler[Chunk]):
    """The rows of a plan, a few at a time, each with the next place; a chunk is of one batch."""

    def __init__(self, num_places: int, num_rows: int) -> None:
        self.plan: Sequence[NDArray[np.int64]] = ()
        self._num_places, self._num_rows = num_places, num_rows

    def __iter__(self) -> Iterator[Chunk]:
        plan, places = self.plan, cycle(range(self._num_places))
        for rows in plan:
            for begin in range(0, len(rows), self._num_rows):
                yield next(places), rows[begin : begin + self._num_rows]


class _Decoder(Dataset[UserError | None]):
    """Chunks -> None, their pixels in place, or what is wrong with them."""

    def __init__(self, packs: ImagePacks, digests: Sequence[str], preprocess: Preprocess, shared: torch.Tensor) -> None:
        self._packs, self._digests, self._preprocess, self._shared = packs, digests, preprocess, shared

    def __getitem__(self, chunk: Chunk) -> UserError | None:
        place, rows = chunk
        digests = [self._digests[row] for row in rows]
        pixels = self._shared[place].numpy()
        try:
            for number, content in enumerate(self._packs.read_many(digests)):
                pixels[number] = decode_named(digests[number], content, self._preprocess)
        except UserError as error:
            return error
        return None


def _wait(done: Iterator[UserError | None]) -> None:
    """Wait for the next chunk."""
    try:
        error = next(done)
    except RuntimeError as failure:
        if not any(sign in str(failure) for sign in LOST):
            raise
        raise UserError(
            "the processes that decode images were killed: leave them more memory, or let pixels be kept, by a larger "
            "finetune.pixel_cache_gb in params.yaml"
        ) from failure
    if error is not None:
        raise error


def _leave_group(worker: int) -> None:
    # A signal to the whole group is for the process that trains: it finishes its step, and then ends these.
    os.setpgrp()

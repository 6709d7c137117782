"""Rows to accepted rows: each row's images looked up in the store, or made anew by workers, in the source's order."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import TypeAlias

from fclip.catalog.config import ImageConfig
from fclip.catalog.file_digests import FileDigests
from fclip.catalog.image_store import ImageStore
from fclip.catalog.images import NormalImage, file_refusal, normalise_image, read_image_file
from fclip.catalog.rows import Refusal, RefusedRow, SourceRow, refuse
from fclip.files import digest_bytes
from fclip.images.packs import PackWriter

BLOCK_ROWS = 32  # the unit of work of a worker: a small image costs little more than handing it over
BLOCKS_AHEAD = 3  # decoded ahead of the writer, a worker: bounds memory
NUM_WORKERS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
IMAGES_BY_THREADS = 8000  # from so many new images on, processes are worth the seconds that they take to start

Source: TypeAlias = bytes | Refusal  # what an image is known by: its source's digest; or why it cannot be read


@dataclass(frozen=True)
class Made:
    """What was made of an image, and the digest of the source that it was made of."""

    digest: bytes
    image: NormalImage | Refusal


@dataclass(frozen=True)
class _Block:
    rows: list[SourceRow | RefusedRow]
    sources: list[list[Source]]  # of each row's images
    making: Future[dict[bytes, Made | Refusal]] | None


class Intake:
    """Take rows in: `accepted` yields each with the numbers of its images in the store, or its refusal."""

    def __init__(self, store: ImageStore, packs: PackWriter, digests: FileDigests, config: ImageConfig) -> None:
        self._store, self._packs, self._digests, self._config = store, packs, digests, config
        self._num_unknown = 0

    def accepted(self, rows: Iterable[SourceRow | RefusedRow]) -> Iterator[tuple[SourceRow, list[int]] | RefusedRow]:
        """One for each row, in order. Images are made by threads, and by processes where there are many.

        The processes are spawned, so a script that calls this needs the `if __name__ == "__main__"` of every script
        that does.
        """
        waiting: deque[_Block] = deque()
        rows = iter(rows)
        with ExitStack() as stack:
            pool: Executor = stack.enter_context(ThreadPoolExecutor(NUM_WORKERS))
            while block := list(islice(rows, BLOCK_ROWS)):
                if self._num_unknown >= IMAGES_BY_THREADS and isinstance(pool, ThreadPoolExecutor):
                    pool = stack.enter_context(ProcessPoolExecutor(NUM_WORKERS, mp_context=get_context("spawn")))
                waiting.append(self._begin(block, pool))
                if len(waiting) > BLOCKS_AHEAD * NUM_WORKERS:
                    yield from self._end(waiting.popleft())
            while waiting:
                yield from self._end(waiting.popleft())

    def _begin(self, rows: list[SourceRow | RefusedRow], pool: Executor) -> _Block:
        unknown: dict[bytes, bytes | Path] = {}
        sources: list[list[Source]] = []
        for row in rows:
            own: list[Source] = []
            for image in row.images if isinstance(row, SourceRow) else ():
                assert not isinstance(image, Refusal)
                source = self._source(image)
                if isinstance(source, bytes) and self._store.find(source) is None:
                    unknown.setdefault(source, image)
                own.append(source)
            sources.append(own)
        self._num_unknown += len(unknown)
        making = pool.submit(make_images, unknown, self._config) if unknown else None
        return _Block(rows, sources, making)

    def _source(self, image: bytes | Path) -> Source:
        """The digest of an image's source; most files were digested when the pin was verified."""
        if isinstance(image, bytes):
            return digest_bytes(image)
        try:
            return file_refusal(image) or self._digests.digest(image)
        except OSError as error:
            return Refusal("read", "image file unreadable", f"{image.name}: {error.strerror}")

    def _end(self, block: _Block) -> Iterator[tuple[SourceRow, list[int]] | RefusedRow]:
        made = block.making.result() if block.making is not None else {}
        for row, sources in zip(block.rows, block.sources, strict=True):
            if isinstance(row, RefusedRow):
                yield row
                continue
            numbers: list[int] = []
            for source in sources:
                number = self._number(source, made)
                if isinstance(number, Refusal):
                    yield refuse(row, number)
                    break
                numbers.append(number)
            else:
                yield row, numbers

    def _number(self, source: Source, made: dict[bytes, Made | Refusal]) -> int | Refusal:
        """The image's number; a new one is stored when its row is reached, so that numbers follow the rows."""
        if isinstance(source, Refusal):
            return source
        new = made.get(source)
        if isinstance(new, Refusal):
            return new
        digest = source if new is None else new.digest  # another, where the file changed in between
        known = self._store.find(digest)
        if known is not None:
            return known
        assert new is not None
        if isinstance(new.image, NormalImage):
            self._packs.add(new.image.stored)
        return self._store.add(digest, new.image)


def make_images(images: Mapping[bytes, bytes | Path], config: ImageConfig) -> dict[bytes, Made | Refusal]:
    """What is made of each image by its source's digest, read where it is a file; a refusal where it cannot be read."""
    return {digest: _make(digest, image, config) for digest, image in images.items()}


def _make(digest: bytes, image: bytes | Path, config: ImageConfig) -> Made | Refusal:
    if isinstance(image, bytes):
        return Made(digest, normalise_image(image, config))
    content = read_image_file(image)
    if isinstance(content, Refusal):
        return content
    return Made(digest_bytes(content), normalise_image(content, config))  # it may have changed since it was digested

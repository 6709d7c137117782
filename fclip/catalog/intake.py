"""Rows to accepted rows: each row's images looked up in the store, or decoded on threads, in the source's order."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from fclip.catalog.config import ImageConfig
from fclip.catalog.file_digests import FileDigests
from fclip.catalog.image_store import ImageStore
from fclip.catalog.images import NormalImage, normalise_image, read_image_file
from fclip.catalog.rows import Refusal, RefusedRow, SourceRow, refuse
from fclip.files import digest_bytes
from fclip.images.packs import PackWriter

BLOCK_ROWS = 32  # the unit of work of a thread: a small image costs little more than handing it over
BLOCKS_AHEAD = 3  # decoded ahead of the writer, a worker: bounds memory

Source: TypeAlias = bytes | Path  # what an image is known by: its source's digest, or the file still to be read
Read: TypeAlias = tuple[bytes, NormalImage | Refusal | None]


@dataclass(frozen=True)
class _Block:
    rows: list[SourceRow | RefusedRow]
    sources: list[list[Source]]  # of each row's images
    reading: Future[dict[Source, Read | Refusal]] | None


class Intake:
    """Take rows in: `accepted` yields each with the numbers of its images in the store, or its refusal."""

    def __init__(self, store: ImageStore, packs: PackWriter, digests: FileDigests, config: ImageConfig) -> None:
        self._store, self._packs, self._digests, self._config = store, packs, digests, config

    def accepted(self, rows: Iterable[SourceRow | RefusedRow]) -> Iterator[tuple[SourceRow, list[int]] | RefusedRow]:
        """One for each row, in order; Pillow decodes and SHA-256 digests outside the interpreter's lock."""
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        waiting: deque[_Block] = deque()
        rows = iter(rows)
        with ThreadPoolExecutor(workers) as pool:
            while block := list(islice(rows, BLOCK_ROWS)):
                waiting.append(self._begin(block, pool))
                if len(waiting) > BLOCKS_AHEAD * workers:
                    yield from self._end(waiting.popleft())
            while waiting:
                yield from self._end(waiting.popleft())

    def _begin(self, rows: list[SourceRow | RefusedRow], pool: ThreadPoolExecutor) -> _Block:
        unknown: dict[Source, bytes | Path] = {}
        sources: list[list[Source]] = []
        for row in rows:
            own: list[Source] = []
            for image in row.images if isinstance(row, SourceRow) else ():
                assert not isinstance(image, Refusal)
                source = (self._digests.find(image) or image) if isinstance(image, Path) else digest_bytes(image)
                if isinstance(source, Path) or self._store.find(source) is None:
                    unknown.setdefault(source, image)
                own.append(source)
            sources.append(own)
        return _Block(rows, sources, pool.submit(self._read, unknown) if unknown else None)

    def _read(self, unknown: dict[Source, bytes | Path]) -> dict[Source, Read | Refusal]:
        """Of each image its source's digest and what was made of it (None: the store has it), or why it has none."""
        found: dict[Source, Read | Refusal] = {}
        for source, image in unknown.items():
            if isinstance(image, bytes):
                assert isinstance(source, bytes)
                found[source] = source, normalise_image(image, self._config)
            else:
                found[source] = self._read_file(image)
        return found

    def _read_file(self, path: Path) -> Read | Refusal:
        try:
            before = path.stat()
        except OSError as error:
            return Refusal("read", "image file unreadable", f"{path.name}: {error.strerror}")
        content = read_image_file(path)
        if isinstance(content, Refusal):
            return content
        digest = digest_bytes(content)
        self._digests.put(path, before, digest)
        return digest, None if self._store.find(digest) is not None else normalise_image(content, self._config)

    def _end(self, block: _Block) -> Iterator[tuple[SourceRow, list[int]] | RefusedRow]:
        read = block.reading.result() if block.reading is not None else {}
        for row, sources in zip(block.rows, block.sources, strict=True):
            if isinstance(row, RefusedRow):
                yield row
                continue
            numbers: list[int] = []
            for source in sources:
                number = self._number(source, read)
                if isinstance(number, Refusal):
                    yield refuse(row, number)
                    break
                numbers.append(number)
            else:
                yield row, numbers

    def _number(self, source: Source, read: dict[Source, Read | Refusal]) -> int | Refusal:
        """The image's number; a new one is stored when its row is reached, so that numbers follow the rows."""
        made = read.get(source)
        if isinstance(made, Refusal):
            return made
        digest, image = made if made is not None else (source, None)
        assert isinstance(digest, bytes)
        known = self._store.find(digest)
        if known is not None:
            return known
        assert image is not None
        if isinstance(image, NormalImage):
            self._packs.add(image.stored)
        return self._store.add(digest, image)

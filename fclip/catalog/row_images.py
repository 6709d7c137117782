"""Rows to accepted rows: each row's images looked up in the store, or made anew by threads, in the source's order."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from fclip.catalog.config import ImageConfig
from fclip.catalog.image_store import ImageStore
from fclip.catalog.images import NormalImage, normalise_image, read_image_file
from fclip.catalog.rows import Refusal, RefusedRow, SourceRow, refuse
from fclip.files import digest_bytes
from fclip.images.packs import PackWriter
from fclip.mirror.file_digests import FileDigests

BLOCK_ROWS = 32  # what a thread takes at a time: a small image costs little more than handing it over
BLOCKS_AHEAD = 3  # of the writer, a thread: bounds memory
NUM_WORKERS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Seen:
    """An image that was looked at: the digest of its source, and what was made of it; None where the store has it."""

    source: bytes
    made: NormalImage | Refusal | None


@dataclass(frozen=True)
class _Block:
    rows: list[SourceRow | RefusedRow]
    seen: Future[list[list[Seen | Refusal]]]  # of each row's images


class RowImages:
    """Take rows in: `accepted` yields each with the numbers of its images in the store, or its refusal."""

    def __init__(self, store: ImageStore, packs: PackWriter, digests: FileDigests, config: ImageConfig) -> None:
        self._store, self._packs, self._digests, self._config = store, packs, digests, config

    def accepted(self, rows: Iterable[SourceRow | RefusedRow]) -> Iterator[tuple[SourceRow, list[int]] | RefusedRow]:
        """One for each row, in order."""
        waiting: deque[_Block] = deque()
        rows = iter(rows)
        with ThreadPoolExecutor(NUM_WORKERS) as pool:
            while block := list(islice(rows, BLOCK_ROWS)):
                waiting.append(_Block(block, pool.submit(self._look, block)))
                if len(waiting) > BLOCKS_AHEAD * NUM_WORKERS:
                    yield from self._taken(waiting.popleft())
            while waiting:
                yield from self._taken(waiting.popleft())

    def _look(self, rows: list[SourceRow | RefusedRow]) -> list[list[Seen | Refusal]]:
        """What a thread does: read, digest and decode, whatever of a block the store does not have."""
        made: dict[bytes, NormalImage | Refusal] = {}
        return [
            [self._look_at(image, made) for image in row.images] if isinstance(row, SourceRow) else [] for row in rows
        ]

    def _look_at(self, image: bytes | Path | Refusal, made: dict[bytes, NormalImage | Refusal]) -> Seen | Refusal:
        if isinstance(image, Refusal):
            return image
        content = image if isinstance(image, bytes) else self._read(image)
        if isinstance(content, Seen | Refusal):
            return content
        source = digest_bytes(content)
        if self._store.find(source) is not None:
            return Seen(source, None)
        if source not in made:
            made[source] = normalise_image(content, self._config)
        return Seen(source, made[source])

    def _read(self, path: Path) -> bytes | Seen | Refusal:
        """The bytes of a file, if the store may not have them already."""
        source = self._digests.find(path)
        if source is not None and self._store.find(source) is not None:
            return Seen(source, None)
        try:
            before = None if source is not None else path.stat()
        except OSError as error:
            return Refusal("read", "image file unreadable", f"{path.name}: {error.strerror}")
        content = read_image_file(path)
        if before is not None and isinstance(content, bytes):
            self._digests.put(path, before, digest_bytes(content))
        return content

    def _taken(self, block: _Block) -> Iterator[tuple[SourceRow, list[int]] | RefusedRow]:
        for row, seen in zip(block.rows, block.seen.result(), strict=True):
            if isinstance(row, RefusedRow):
                yield row
                continue
            numbers: list[int] = []
            for each in seen:
                number = each if isinstance(each, Refusal) else self._number(each)
                if isinstance(number, Refusal):
                    yield refuse(row, number)
                    break
                numbers.append(number)
            else:
                yield row, numbers

    def _number(self, seen: Seen) -> int | Refusal:
        """The image's number; a new one is stored when its row is reached, so that numbers follow the rows."""
        known = self._store.find(seen.source)
        if known is not None:
            return known
        assert seen.made is not None
        if isinstance(seen.made, NormalImage):
            self._packs.add(seen.made.stored)
        return self._store.add(seen.source, seen.made)

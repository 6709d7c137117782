"""Import the images of source rows into the image store, with threads, in the order of the source."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from fclip.catalog.config import ImageConfig
from fclip.catalog.image_store import ImageStore
from fclip.catalog.images import NormalisedImage, normalise_image, read_image_file
from fclip.catalog.rows import Refusal, RefusedRow, SourceRow, refuse
from fclip.files import digest_bytes
from fclip.images.packs import PackWriter
from fclip.mirror.file_digests import FileDigests

BLOCK_ROWS = 32  # rows per task of a thread: a small image takes little longer than the handover
BLOCKS_AHEAD = 3  # blocks per thread that may wait for the writer; limits memory
NUM_WORKERS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class LookedUpImage:
    """An image that was looked up: the digest of its source and its normalised form; None if the store has it."""

    source: bytes
    normalised: NormalisedImage | Refusal | None


@dataclass(frozen=True)
class _Block:
    rows: list[SourceRow | RefusedRow]
    images: Future[list[list[LookedUpImage | Refusal]]]  # of each row


class ImageImporter:
    """Imports the images of source rows into an image store and its packs."""

    def __init__(self, store: ImageStore, packs: PackWriter, digests: FileDigests, config: ImageConfig) -> None:
        self._store, self._packs, self._digests, self._config = store, packs, digests, config

    def import_images(
        self, rows: Iterable[SourceRow | RefusedRow]
    ) -> Iterator[tuple[SourceRow, list[int]] | RefusedRow]:
        """Yield each row with the numbers of its images in the store, or its refusal, in order."""
        waiting: deque[_Block] = deque()
        rows = iter(rows)
        with ThreadPoolExecutor(NUM_WORKERS) as pool:
            while block := list(islice(rows, BLOCK_ROWS)):
                waiting.append(_Block(block, pool.submit(self._look_up_rows, block)))
                if len(waiting) > BLOCKS_AHEAD * NUM_WORKERS:
                    yield from self._stored(waiting.popleft())
            while waiting:
                yield from self._stored(waiting.popleft())

    def _look_up_rows(self, rows: list[SourceRow | RefusedRow]) -> list[list[LookedUpImage | Refusal]]:
        """Read, digest and decode the images of a block that the store does not have. Runs in a thread."""
        normalised: dict[bytes, NormalisedImage | Refusal] = {}
        return [
            [self._look_up(image, normalised) for image in (row.images if isinstance(row, SourceRow) else ())]
            for row in rows
        ]

    def _look_up(
        self, image: bytes | Path | Refusal, normalised: dict[bytes, NormalisedImage | Refusal]
    ) -> LookedUpImage | Refusal:
        if isinstance(image, Refusal):
            return image
        content = image if isinstance(image, bytes) else self._read(image)
        if isinstance(content, LookedUpImage | Refusal):
            return content
        source = digest_bytes(content)
        if self._store.find(source) is not None:
            return LookedUpImage(source, None)
        if source not in normalised:
            normalised[source] = normalise_image(content, self._config)
        return LookedUpImage(source, normalised[source])

    def _read(self, path: Path) -> bytes | LookedUpImage | Refusal:
        """Return the bytes of a file, or its lookup if the store has the image already."""
        source = self._digests.find(path)
        if source is not None and self._store.find(source) is not None:
            return LookedUpImage(source, None)
        try:
            before = None if source is not None else path.stat()
        except OSError as error:
            return Refusal("read", "image file unreadable", f"{path.name}: {error.strerror}")
        content = read_image_file(path)
        if before is not None and isinstance(content, bytes):
            self._digests.put(path, before, digest_bytes(content))
        return content

    def _stored(self, block: _Block) -> Iterator[tuple[SourceRow, list[int]] | RefusedRow]:
        for row, images in zip(block.rows, block.images.result(), strict=True):
            if isinstance(row, RefusedRow):
                yield row
                continue
            numbers: list[int] = []
            for image in images:
                number = image if isinstance(image, Refusal) else self._number(image)
                if isinstance(number, Refusal):
                    yield refuse(row, number)
                    break
                numbers.append(number)
            else:
                yield row, numbers

    def _number(self, image: LookedUpImage) -> int | Refusal:
        """Return the image's number. A new image is stored when its row is reached, so that numbers follow the rows."""
        known = self._store.find(image.source)
        if known is not None:
            return known
        assert image.normalised is not None
        if isinstance(image.normalised, NormalisedImage):
            self._packs.add(image.normalised.stored)
        return self._store.add(image.source, image.normalised)

"""Pixels of training images: decoded once if the cache is large enough, else decoded for each batch."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from fclip.images.packs import ImagePacks
from fclip.models.preprocess import Preprocess
from fclip.training.pixel_cache import image_bytes, open_pixels
from fclip.training.pixel_stream import StreamedPixels
from fclip.training.stop import Stop

logger = logging.getLogger(__name__)

GB = 1e9


class PixelSource(Protocol):
    """Images of one geometry by row: cached (`Pixels`) or decoded for each batch (`StreamedPixels`)."""

    @property
    def size(self) -> int:
        """Side of an image in pixels."""
        ...

    def __len__(self) -> int: ...

    def batches(self, plan: Sequence[NDArray[np.int64]], *, pinned: bool = False) -> Iterator[torch.Tensor]:
        """Yield the images of each entry of `plan`, uint8 [n, size, size, 3]; in pinned memory if `pinned`."""
        ...


@contextmanager
def open_pixel_source(
    folder: Path,
    packs: ImagePacks,
    digests: Sequence[str],
    preprocess: Preprocess,
    *,
    max_bytes: float,
    num_processes: int,
    stop: Stop,
) -> Iterator[PixelSource]:
    """Context with a source of the images `digests`; row i is the i-th digest. Both kinds of source give equal pixels.

    Args:
        folder: cache of decoded images (`fclip.training.pixel_cache`).
        max_bytes: if the decoded images are larger, they are decoded for every batch instead.
        num_processes: number of decoding processes in that case.

    Raises:
        UserError, Interrupted: as in `open_pixels`.
    """
    num_bytes = len(digests) * image_bytes(preprocess)
    size = f"{len(digests)} images at {preprocess.size} px ({num_bytes / GB:.2f} GB decoded)"
    if num_bytes <= max_bytes:
        logger.info("Caching %s", size)
        yield open_pixels(folder, packs, digests, preprocess, stop=stop)
        return
    logger.info(
        "Decoding %s for every batch in %d processes, since they exceed finetune.pixel_cache_gb (%g)",
        size,
        num_processes,
        max_bytes / GB,
    )
    with StreamedPixels(packs, digests, preprocess, num_processes=num_processes) as streamed:
        yield streamed

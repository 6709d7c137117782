"""Pixels of training images: decoded once if there is room for them, else decoded for each batch."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from fclip.images.packs import ImagePacks
from fclip.models.store import Preprocess
from fclip.training.pixel_cache import image_bytes, open_pixels
from fclip.training.pixel_stream import StreamedPixels
from fclip.training.stop import Stop

logger = logging.getLogger(__name__)

GB = 1e9


class PixelSource(Protocol):
    """Images of one geometry, by rows: kept decoded (`Pixels`), or decoded anew (`StreamedPixels`)."""

    @property
    def size(self) -> int:
        """Side of an image."""
        ...

    def __len__(self) -> int: ...

    def batches(self, plan: Sequence[NDArray[np.int64]], *, pinned: bool = False) -> Iterator[torch.Tensor]:
        """The images of each entry of `plan`, uint8 [n, size, size, 3]; `pinned`: in memory that a GPU copies from."""
        ...


@contextmanager
def open_source(
    folder: Path,
    packs: ImagePacks,
    digests: Sequence[str],
    preprocess: Preprocess,
    *,
    max_bytes: float,
    num_processes: int,
    stop: Stop,
) -> Iterator[PixelSource]:
    """The images `digests`, row i the i-th, in whichever way there is room for; the pixels are the same, bit for bit.

    Args:
        folder: where decoded pixels are kept (`fclip.training.pixel_cache`).
        max_bytes: more are decoded for every batch.
        num_processes: that decode then.

    Raises:
        UserError, Interrupted: as `open_pixels`.
    """
    num_bytes = len(digests) * image_bytes(preprocess)
    said = f"pixels: {len(digests)} images at {preprocess.size} px are {num_bytes / GB:.2f} GB"
    if num_bytes <= max_bytes:
        logger.info("%s: decoded once, in %s", said, folder)
        yield open_pixels(folder, packs, digests, preprocess, stop=stop)
        return
    logger.info(
        "%s, more than finetune.pixel_cache_gb (%g): decoded for every batch, by %d processes",
        said,
        max_bytes / GB,
        num_processes,
    )
    with StreamedPixels(packs, digests, preprocess, num_processes=num_processes) as streamed:
        yield streamed

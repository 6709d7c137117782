"""Images decoded once, as a file of pixels that a run maps into memory."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fclip.errors import UserError
from fclip.files import atomic_path
from fclip.images.packs import ImagePacks
from fclip.images.pixels import decode
from fclip.models.store import Preprocess
from fclip.progress import progress
from fclip.training.stop import Interrupted, Stop

BLOCK = 256


def decoded_images(
    packs: ImagePacks, digests: Sequence[str], preprocess: Preprocess, path: Path, *, stop: Stop
) -> NDArray[np.uint8]:
    """The pixels of the images with these digests, from the file `path`, which is made where it is not there yet.

    Returns:
        uint8 [n, size, size, 3], mapped read-only.

    Raises:
        UserError: an image is in no pack, or cannot be decoded; the message names it.
        Interrupted: told to stop; nothing is kept.
    """
    shape = (len(digests), preprocess.size, preprocess.size, 3)
    if not path.exists():
        with atomic_path(path) as temporary, ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            pixels = np.lib.format.open_memmap(temporary, "w+", np.uint8, shape)
            blocks = [range(begin, min(begin + BLOCK, len(digests))) for begin in range(0, len(digests), BLOCK)]
            label = f"decode at {preprocess.size} px"
            for rows in progress(blocks, label=label, total=len(digests), unit="images", size=len):
                if stop(0):
                    raise Interrupted("told to stop while images were decoded")
                own = [digests[row] for row in rows]
                for row, image in zip(
                    rows, pool.map(_decode, own, packs.read_many(own), repeat(preprocess)), strict=True
                ):
                    pixels[row] = image
            pixels.flush()
            del pixels
    mapped: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    assert mapped.shape == shape, (mapped.shape, shape)
    return mapped


def _decode(digest: str, content: bytes, preprocess: Preprocess) -> NDArray[np.uint8]:
    try:
        return decode(content, preprocess)
    except UserError as error:
        raise UserError(f"image {digest}: {error}") from error

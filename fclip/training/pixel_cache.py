"""Cache of decoded images for all runs: an append-only folder of parts.

    FOLDER/110px-<geometry>/part-<digest>.npy

A part is a NumPy file, uint8 [k, size, size, 3], followed by the SHA-256 digests of its k images, 32 bytes each. Its
name is derived from these digests. A later run decodes only new images. Several processes may read and add at the same
time: parts are written atomically, and equal parts have the same name. The folder may be deleted when it is not in use.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
import PIL
import torch
from numpy.typing import NDArray

from fclip.errors import UserError
from fclip.files import atomic_path, sha256_bytes, sha256_json
from fclip.images.packs import ImagePacks
from fclip.images.pixels import decode
from fclip.models.preprocess import Preprocess
from fclip.progress import progress
from fclip.training.stop import Interrupted, Stop

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1  # increase if decoding gives different pixels for the same key
PART_BYTES = 128 * 2**20
BLOCK_IMAGES = 256
DIGEST_BYTES = 32


@dataclass(frozen=True)
class Pixels:
    """Memory-mapped decoded images; row i is the i-th requested digest. Thread-safe.

    Attributes:
        size: side of an image in pixels.
        parts: arrays, uint8 [k, size, size, 3] each.
        part, row: int64 [images], the part of each image and its row in the part.
    """

    size: int
    parts: Sequence[NDArray[np.uint8]]
    part: NDArray[np.int64]
    row: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.part)

    def read(self, rows: NDArray[np.int64], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Return the images `rows` in this order: uint8 [n, size, size, 3], written to `out` if given."""
        if out is None:
            out = np.empty((len(rows), self.size, self.size, 3), np.uint8)
        places = zip(self.part[rows].tolist(), self.row[rows].tolist(), strict=True)
        for number, (part, row) in enumerate(places):
            out[number] = self.parts[part][row]
        return out

    def batches(self, plan: Sequence[NDArray[np.int64]], *, pinned: bool = False) -> Iterator[torch.Tensor]:
        """Yield the images of each entry of `plan`, uint8 [n, size, size, 3]; in pinned memory if `pinned`."""
        for rows in plan:
            batch = torch.empty((len(rows), self.size, self.size, 3), dtype=torch.uint8, pin_memory=pinned)
            self.read(rows, batch.numpy())
            yield batch


def image_bytes(preprocess: Preprocess) -> int:
    """Return the size of one decoded image in bytes."""
    return 3 * preprocess.size**2


def decode_image(digest: str, content: bytes, preprocess: Preprocess) -> NDArray[np.uint8]:
    """Return the pixels of a stored image for training; raises UserError with its digest if it cannot be decoded."""
    try:
        return decode(content, preprocess, draft=True)
    except UserError as error:
        raise UserError(f"image {digest}: {error}") from error


def open_pixels(
    folder: Path, packs: ImagePacks, digests: Sequence[str], preprocess: Preprocess, *, stop: Stop
) -> Pixels:
    """Return the pixels of the images `digests`. Images missing in `folder` are decoded from `packs` and added.

    Damaged parts are deleted with a warning, and their images are decoded again.

    Raises:
        UserError: an image is in no pack or cannot be decoded (the message has its digest), or the disk is full.
        Interrupted: `stop` returned true. Decoded images are kept.
    """
    cache = _PartFolder(folder / _geometry(preprocess), preprocess)
    missing = [digest for digest in dict.fromkeys(digests) if digest not in cache.positions]
    if missing:
        _decode_into(cache, packs, missing, preprocess, stop)
    positions = np.array([cache.positions[digest] for digest in digests], np.int64).reshape(-1, 2)
    return Pixels(preprocess.size, tuple(cache.parts), positions[:, 0], positions[:, 1])


def _geometry(preprocess: Preprocess) -> str:
    """Return the folder name for everything that pixels depend on besides the image: geometry and decoder version."""
    key = [FORMAT_VERSION, PIL.__version__, preprocess.resize_mode, preprocess.interpolation, preprocess.fill_color]
    return f"{preprocess.size}px-{sha256_json(key)[:16]}"


class _PartFolder:
    """The parts of one geometry.

    Attributes:
        parts: the arrays of pixels.
        positions: part and row of each image, by digest.
    """

    def __init__(self, folder: Path, preprocess: Preprocess) -> None:
        self._folder = folder
        self._shape = (preprocess.size, preprocess.size, 3)
        self.parts: list[NDArray[np.uint8]] = []
        self.positions: dict[str, tuple[int, int]] = {}
        for path in sorted(folder.glob("part-*.npy")):
            self._open(path)

    def add(self, digests: Sequence[str], pixels: NDArray[np.uint8]) -> None:
        """Write a part; raises UserError if it cannot be written."""
        names = bytes.fromhex("".join(digests))
        path = self._folder / f"part-{sha256_bytes(names)[:32]}.npy"
        try:
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.lib.format.write_array(file, pixels, allow_pickle=False)
                file.write(names)
        except OSError as error:
            raise UserError(
                f"{path}: cannot be written ({error}); free disk space, or reduce finetune.pixel_cache_gb in "
                "params.yaml so that images are decoded for every batch"
            ) from error
        self._open(path)

    def _open(self, path: Path) -> None:
        try:
            pixels = np.load(path, mmap_mode="r", allow_pickle=False)
            end = pixels.offset + pixels.nbytes
            with path.open("rb") as file:
                file.seek(end)
                names = file.read()
            whole = pixels.dtype == np.uint8 and pixels.shape[1:] == self._shape
            if not whole or len(names) != len(pixels) * DIGEST_BYTES or sha256_bytes(names)[:32] not in path.name:
                raise ValueError("its content does not match its name")
        except FileNotFoundError:
            return  # deleted by another process
        except OSError as error:  # such as too many open files or a failing disk; the part itself may be intact
            raise UserError(f"{path}: cannot be read ({error})") from error
        except (ValueError, EOFError) as error:
            logger.warning("Deleted %s, which is damaged (%s); its images will be decoded again", path, error)
            path.unlink(missing_ok=True)
            return
        hex_digests = names.hex()
        for row in range(len(pixels)):
            digest = hex_digests[2 * DIGEST_BYTES * row : 2 * DIGEST_BYTES * (row + 1)]
            self.positions.setdefault(digest, (len(self.parts), row))
        self.parts.append(np.asarray(pixels))


def _decode_into(
    cache: _PartFolder, packs: ImagePacks, digests: Sequence[str], preprocess: Preprocess, stop: Stop
) -> None:
    """Decode the images `digests` and add them part by part. On an error, decoded images are kept."""
    block = max(1, min(BLOCK_IMAGES, PART_BYTES // image_bytes(preprocess)))
    blocks_per_part = max(1, PART_BYTES // (block * image_bytes(preprocess)))
    pending: list[NDArray[np.uint8]] = []
    num_added = 0
    try:
        blocks = [digests[begin : begin + block] for begin in range(0, len(digests), block)]
        for pixels in _decode_blocks(packs, blocks, preprocess, stop):
            pending.append(pixels)
            if len(pending) == blocks_per_part:
                num_added, pending = _add_part(cache, digests, num_added, pending), []
    finally:
        _add_part(cache, digests, num_added, pending)


def _add_part(cache: _PartFolder, digests: Sequence[str], num_added: int, blocks: Sequence[NDArray[np.uint8]]) -> int:
    """Add `blocks`, the images after the first `num_added` of `digests`; return the new number of added images."""
    end = num_added + sum(map(len, blocks))
    if blocks:
        cache.add(digests[num_added:end], np.concatenate(blocks))
    return end


def _decode_blocks(
    packs: ImagePacks, blocks: Sequence[Sequence[str]], preprocess: Preprocess, stop: Stop
) -> Iterator[NDArray[np.uint8]]:
    """Yield the pixels of each block, decoded in threads: Pillow releases the GIL while decoding."""
    total, label = sum(map(len, blocks)), f"Decoding images at {preprocess.size} px"
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for block in progress(blocks, label=label, total=total, unit="images", size=len):
            if stop(0):
                raise Interrupted(
                    "interrupted while decoding images; decoded images are kept, run the command again to resume"
                )
            yield np.stack(list(pool.map(decode_image, block, packs.read_many(block), repeat(preprocess))))

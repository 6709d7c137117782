"""Pixels of images, decoded once for all runs: a folder of parts that are only ever added to.

    FOLDER/110px-<geometry>/part-<digest>.npy

A part is a NumPy file, uint8 [k, size, size, 3], after whose end the SHA-256 digests of its k images follow, 32 bytes
each; it is named by them. So tomorrow's run decodes only what is new today. Several processes may read and add at a
time: a part appears whole, and equal ones have one name. The folder may be deleted whenever nothing reads it.
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
from fclip.models.store import Preprocess
from fclip.progress import progress
from fclip.training.stop import Interrupted, Stop

logger = logging.getLogger(__name__)

FORM = 1  # raise when what decodes changes what it gives for the same key
PART_BYTES = 128 * 2**20
BLOCK = 256
DIGEST_BYTES = 32


@dataclass(frozen=True)
class Pixels:
    """Decoded images, mapped into memory; row i is of the i-th digest that was asked for. Threads may share it.

    Attributes:
        size: side of an image.
        parts: uint8 [k, size, size, 3] each.
        part, row: int64 [images], where each image is.
    """

    size: int
    parts: Sequence[NDArray[np.uint8]]
    part: NDArray[np.int64]
    row: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.part)

    def read(self, rows: NDArray[np.int64], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """The images `rows` in their order: uint8 [n, size, size, 3], written to `out` where it is given."""
        if out is None:
            out = np.empty((len(rows), self.size, self.size, 3), np.uint8)
        places = zip(self.part[rows].tolist(), self.row[rows].tolist(), strict=True)
        for number, (part, row) in enumerate(places):
            out[number] = self.parts[part][row]
        return out

    def batches(self, plan: Sequence[NDArray[np.int64]], *, pinned: bool = False) -> Iterator[torch.Tensor]:
        """The images of each entry of `plan`, uint8 [n, size, size, 3]; `pinned`: in memory that a GPU copies from."""
        for rows in plan:
            batch = torch.empty((len(rows), self.size, self.size, 3), dtype=torch.uint8, pin_memory=pinned)
            self.read(rows, batch.numpy())
            yield batch


def image_bytes(preprocess: Preprocess) -> int:
    """Bytes of one decoded image."""
    return 3 * preprocess.size**2


def decode_named(digest: str, content: bytes, preprocess: Preprocess) -> NDArray[np.uint8]:
    """The pixels that training sees of a stored image; raises UserError naming it where it cannot be decoded."""
    try:
        return decode(content, preprocess, draft=True)
    except UserError as error:
        raise UserError(f"image {digest}: {error}") from error


def open_pixels(
    folder: Path, packs: ImagePacks, digests: Sequence[str], preprocess: Preprocess, *, stop: Stop
) -> Pixels:
    """The pixels of the images `digests`, from `folder`; those that it lacks are decoded from `packs` and added.

    Parts that are damaged go, with a warning, and are made anew.

    Raises:
        UserError: an image is in no pack or cannot be decoded (the message names it), or there is no room.
        Interrupted: told to stop; what was decoded is kept.
    """
    shelf = _Shelf(folder / _geometry(preprocess), preprocess)
    missing = [digest for digest in dict.fromkeys(digests) if digest not in shelf.places]
    if missing:
        _decode_into(shelf, packs, missing, preprocess, stop)
    places = np.array([shelf.places[digest] for digest in digests], np.int64).reshape(-1, 2)
    return Pixels(preprocess.size, tuple(shelf.parts), places[:, 0], places[:, 1])


def _geometry(preprocess: Preprocess) -> str:
    """The folder of pixels of one geometry, made by one decoder: all that pixels depend on beside their image."""
    key = [FORM, PIL.__version__, preprocess.resize_mode, preprocess.interpolation, preprocess.fill_color]
    return f"{preprocess.size}px-{sha256_json(key)[:16]}"


class _Shelf:
    """The parts of one geometry, and where in them each image is."""

    def __init__(self, folder: Path, preprocess: Preprocess) -> None:
        self._folder = folder
        self._shape = (preprocess.size, preprocess.size, 3)
        self.parts: list[NDArray[np.uint8]] = []
        self.places: dict[str, tuple[int, int]] = {}
        for path in sorted(folder.glob("part-*.npy")):
            self._open(path)

    def add(self, digests: Sequence[str], pixels: NDArray[np.uint8]) -> None:
        """Write a part; raises UserError where there is no room."""
        names = bytes.fromhex("".join(digests))
        path = self._folder / f"part-{sha256_bytes(names)[:32]}.npy"
        try:
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.lib.format.write_array(file, pixels, allow_pickle=False)
                file.write(names)
        except OSError as error:
            raise UserError(
                f"{path} could not be written ({error}): make room there, or lower finetune.pixel_cache_gb in "
                "params.yaml, so that images are decoded for every batch"
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
                raise ValueError("it does not hold what its name says")
        except FileNotFoundError:
            return  # deleted by another process
        except OSError as error:  # too many open files, a disk that fails: no reason to delete anything
            raise UserError(f"{path} could not be read: {error}") from error
        except (ValueError, EOFError) as error:
            logger.warning("%s is damaged (%s): it goes, and its images are decoded again", path, error)
            path.unlink(missing_ok=True)
            return
        joined = names.hex()
        for row in range(len(pixels)):
            digest = joined[2 * DIGEST_BYTES * row : 2 * DIGEST_BYTES * (row + 1)]
            self.places.setdefault(digest, (len(self.parts), row))
        self.parts.append(np.asarray(pixels))


def _decode_into(shelf: _Shelf, packs: ImagePacks, digests: Sequence[str], preprocess: Preprocess, stop: Stop) -> None:
    """Decode the images `digests`, a part at a time; what is done is kept when this is left early."""
    block = max(1, min(BLOCK, PART_BYTES // image_bytes(preprocess)))
    blocks_a_part = max(1, PART_BYTES // (block * image_bytes(preprocess)))
    made: list[NDArray[np.uint8]] = []
    kept = 0
    try:
        blocks = [digests[begin : begin + block] for begin in range(0, len(digests), block)]
        for pixels in _decoded(packs, blocks, preprocess, stop):
            made.append(pixels)
            if len(made) == blocks_a_part:
                kept, made = _keep(shelf, digests, kept, made), []
    finally:
        _keep(shelf, digests, kept, made)


def _keep(shelf: _Shelf, digests: Sequence[str], kept: int, made: Sequence[NDArray[np.uint8]]) -> int:
    """Add `made`, of the digests after the first `kept`; returns how many are kept now."""
    done = kept + sum(map(len, made))
    if made:
        shelf.add(digests[kept:done], np.concatenate(made))
    return done


def _decoded(
    packs: ImagePacks, blocks: Sequence[Sequence[str]], preprocess: Preprocess, stop: Stop
) -> Iterator[NDArray[np.uint8]]:
    """The pixels of each block. Pillow decodes without the interpreter's lock, so threads are enough."""
    total, label = sum(map(len, blocks)), f"decode at {preprocess.size} px"
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for block in progress(blocks, label=label, total=total, unit="images", size=len):
            if stop(0):
                raise Interrupted("told to stop while images were decoded; what was decoded is kept")
            yield np.stack(list(pool.map(decode_named, block, packs.read_many(block), repeat(preprocess))))

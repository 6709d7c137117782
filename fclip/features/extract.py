"""The features of many images and texts by several models: what the cache lacks is encoded, each image decoded once.

One model is in memory at a time. Images are decoded a block at a time, the block as large as a fixed amount of
memory holds, and encoded by every model that lacks some of it.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fclip.errors import UserError
from fclip.features.cache import FeatureCache, FeatureKey, FeatureShelf
from fclip.features.encode import FloatArray, encode_images, encode_texts
from fclip.files import sha256_bytes, sha256_json
from fclip.images.packs import ImagePacks
from fclip.images.pixels import decode
from fclip.models.device import resolve_device
from fclip.models.store import Clip, Preprocess, load, model_sha256, read_config
from fclip.progress import progress

logger = logging.getLogger(__name__)
BLOCK_BYTES = 512 * 2**20  # of decoded pixels
ROWS_A_PART = 2048
DEFAULT_SIDE = 224  # open_clip's, where a config gives none


@dataclass(frozen=True)
class Features:
    """One model's features of what was asked for.

    Attributes:
        images: float32 [number of digests, d], in their order, not normalised; [0, 0] where none were asked for.
        texts: the same of the texts.
        num_encoded: how many distinct images and texts were not in the cache.
        num_cached: how many were.
    """

    model_sha256: str
    images: FloatArray
    texts: FloatArray
    num_encoded: int
    num_cached: int


@dataclass(frozen=True)
class _Shelves:
    model_sha256: str
    images: FeatureShelf
    texts: FeatureShelf


def extract_features(
    models: Mapping[str, Path],
    *,
    packs: ImagePacks | None,
    digests: Sequence[str],
    texts: Sequence[str],
    cache: Path,
    device: str = "auto",
    batch_size: int = 128,
) -> dict[str, Features]:
    """Features of the images `digests` (read from `packs`) and of `texts`, by each of `models` (name -> folder).

    Models with the same weights share their work. A model whose features are all in `cache` is not loaded.

    Raises:
        UserError: a model does not load, or an image is in no pack or cannot be decoded.
    """
    target = resolve_device(device)
    store = FeatureCache(cache)
    sha256_of = {name: model_sha256(folder) for name, folder in models.items()}
    names: dict[str, str] = {}
    for name, digest in sha256_of.items():
        names.setdefault(digest, name)
    folders = {digest: models[name] for digest, name in names.items()}
    shelves = {digest: _open(store, folder, digest, target) for digest, folder in folders.items()}
    distinct, distinct_texts = list(dict.fromkeys(digests)), {_text_digest(text): text for text in texts}
    lacking = {
        digest: len(shelf.images.missing(distinct)) + len(shelf.texts.missing(list(distinct_texts)))
        for digest, shelf in shelves.items()
    }
    lacked = {image for shelf in shelves.values() for image in shelf.images.missing(distinct)}
    to_decode = [image for image in distinct if image in lacked]
    side = max((_side(folder) for folder in folders.values()), default=DEFAULT_SIDE)
    for block in _blocks(to_decode, max(1, BLOCK_BYTES // (3 * side * side))):
        pixels: dict[Preprocess, NDArray[np.uint8]] = {}
        for digest, shelf in shelves.items():
            missing = shelf.images.missing(block)
            missing_texts = shelf.texts.missing(list(distinct_texts))
            if not missing and not missing_texts:
                continue
            clip = _load(folders[digest], target)
            _add_texts(clip, shelf.texts, {text: distinct_texts[text] for text in missing_texts}, batch_size)
            if missing:
                assert packs is not None
                geometry = replace(clip.preprocess, mean=(0.0,) * 3, std=(1.0,) * 3)
                if geometry not in pixels:
                    pixels[geometry] = _decode_all(packs, block, geometry)
                where = {image: row for row, image in enumerate(block)}
                rows = np.array([where[image] for image in missing])
                _add_images(clip, shelf.images, missing, pixels[geometry], rows, batch_size, names[digest])
            del clip
    return {name: _collect(shelves[digest], digests, texts, lacking[digest]) for name, digest in sha256_of.items()}


def _blocks(digests: list[str], size: int) -> Iterator[list[str]]:
    """`digests` in blocks; one empty block where there are none, for the texts."""
    for begin in range(0, max(1, len(digests)), size):
        yield digests[begin : begin + size]


def _open(store: FeatureCache, folder: Path, digest: str, device: torch.device) -> _Shelves:
    preprocessing = sha256_json(read_config(folder))
    precision = f"{device.type}-float32"
    return _Shelves(
        digest,
        store.shelf(FeatureKey("image", digest, preprocessing, precision)),
        store.shelf(FeatureKey("text", digest, preprocessing, precision)),
    )


def _load(folder: Path, device: torch.device) -> Clip:
    clip = load(folder, device=device)
    if device.type == "cpu":
        clip.model.to(memory_format=torch.channels_last)
    return clip


def _side(folder: Path) -> int:
    size = read_config(folder)["model_cfg"]["vision_cfg"].get("image_size", DEFAULT_SIDE)
    return int(size if isinstance(size, int) else max(size))


def _decode_all(packs: ImagePacks, digests: list[str], preprocess: Preprocess) -> NDArray[np.uint8]:
    """uint8 [n, side, side, 3]. Pillow decodes without the interpreter's lock, so threads are enough."""
    pixels = np.empty((len(digests), preprocess.size, preprocess.size, 3), np.uint8)

    def one(row: int, content: bytes) -> None:
        try:
            pixels[row] = decode(content, preprocess)
        except UserError as error:
            raise UserError(f"image {digests[row]}: {error}") from error

    starts = range(0, len(digests), 256)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for begin in starts:
            contents = packs.read_many(digests[begin : begin + 256])
            list(pool.map(one, range(begin, begin + len(contents)), contents))
    return pixels


def _add_images(
    clip: Clip,
    shelf: FeatureShelf,
    digests: list[str],
    pixels: NDArray[np.uint8],
    rows: NDArray[np.int64],
    batch_size: int,
    name: str,
) -> None:
    pending: list[FloatArray] = []
    begin = 0
    done = 0
    for chunk in progress(
        [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)],
        label=f"encode by {name}",
        total=len(rows),
        unit="images",
        size=len,
    ):
        pending.append(encode_images(clip, pixels[chunk], batch_size=batch_size))
        done += len(chunk)
        if done - begin >= ROWS_A_PART or done == len(rows):
            shelf.add(digests[begin:done], np.concatenate(pending))
            pending, begin = [], done


def _add_texts(clip: Clip, shelf: FeatureShelf, texts: Mapping[str, str], batch_size: int) -> None:
    if texts:
        shelf.add(list(texts), encode_texts(clip, list(texts.values()), batch_size=batch_size))


def _collect(shelves: _Shelves, digests: Sequence[str], texts: Sequence[str], num_encoded: int) -> Features:
    total = len(set(digests)) + len(set(texts))
    return Features(
        model_sha256=shelves.model_sha256,
        images=shelves.images.get(digests),
        texts=shelves.texts.get([_text_digest(text) for text in texts]),
        num_encoded=num_encoded,
        num_cached=total - num_encoded,
    )


def _text_digest(text: str) -> str:
    return sha256_bytes(text.encode())

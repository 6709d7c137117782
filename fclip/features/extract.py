"""The features of many images and texts by several models: what the cache lacks is encoded, each image decoded once.

One model is in memory at a time, and encodes up to its projections, so that models with equal towers share what these
give (`fclip.features.towers`). Images are decoded a block at a time, the block as large as a fixed amount of memory
holds, and encoded by every tower that lacks some of it.
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
from fclip.features.encode import encode_images, encode_texts
from fclip.features.similarity import FloatArray
from fclip.features.towers import Modality, Tower, towers_of
from fclip.files import sha256_bytes, sha256_json
from fclip.images.packs import ImagePacks
from fclip.images.pixels import decode
from fclip.models.device import resolve_device
from fclip.models.folding import fold_batch_norms
from fclip.models.store import Clip, Preprocess, load, model_sha256, read_config
from fclip.progress import progress

logger = logging.getLogger(__name__)
BLOCK_BYTES = 128 * 2**20  # of decoded pixels
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
class _Tower:
    """What a side of some models gives before its projection, and the first of these models, which encodes."""

    shelf: FeatureShelf
    model: str
    is_cut: bool


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

    Models share the work of equal towers. A model whose towers' features are all in `cache` is not loaded.

    Raises:
        UserError: a model does not load, or an image is in no pack or cannot be decoded.
    """
    target = resolve_device(device)
    sides = {name: towers_of(folder) for name, folder in models.items()}
    keys = {name: _keys(models[name], own, target) for name, own in sides.items()}
    towers = _open_towers(FeatureCache(cache), sides, keys)
    distinct, distinct_texts = list(dict.fromkeys(digests)), {_text_digest(text): text for text in texts}
    wanted = {"image": distinct, "text": list(distinct_texts)}
    lacked = {key: tower.shelf.missing(wanted[key.modality]) for key, tower in towers.items()}
    images_lacked = {image for key, missing in lacked.items() if key.modality == "image" for image in missing}
    to_decode = [image for image in distinct if image in images_lacked]
    side = max((_image_size(folder) for folder in models.values()), default=DEFAULT_SIDE)
    for block in _blocks(to_decode, max(1, BLOCK_BYTES // (3 * side * side))):
        pixels: dict[Preprocess, NDArray[np.uint8]] = {}
        where = {image: row for row, image in enumerate(block)}
        for name, folder in models.items():
            own = {modality: towers[key] for modality, key in keys[name].items() if towers[key].model == name}
            missing = own["image"].shelf.missing(block) if "image" in own else []
            missing_texts = own["text"].shelf.missing(wanted["text"]) if "text" in own else []
            if not missing and not missing_texts:
                continue
            clip = _load(folder, target)
            if missing_texts:
                _add_texts(clip, own["text"], {text: distinct_texts[text] for text in missing_texts}, batch_size)
            if missing:
                assert packs is not None
                geometry = replace(clip.preprocess, mean=(0.0,) * 3, std=(1.0,) * 3)
                if geometry not in pixels:
                    pixels[geometry] = _decode_all(packs, block, geometry)
                rows = np.array([where[image] for image in missing])
                _add_images(clip, own["image"], missing, pixels[geometry], rows, batch_size)
            del clip
    return {
        name: Features(
            model_sha256=model_sha256(folder),
            images=sides[name]["image"].project(towers[keys[name]["image"]].shelf.get(digests)),
            texts=sides[name]["text"].project(towers[keys[name]["text"]].shelf.get([_text_digest(t) for t in texts])),
            num_encoded=(num_encoded := sum(len(lacked[key]) for key in keys[name].values())),
            num_cached=len(distinct) + len(distinct_texts) - num_encoded,
        )
        for name, folder in models.items()
    }


def _keys(folder: Path, sides: Mapping[Modality, Tower], device: torch.device) -> dict[Modality, FeatureKey]:
    config, precision = sha256_json(read_config(folder)), f"{device.type}-float32"
    return {modality: FeatureKey(modality, side.tower_sha256, config, precision) for modality, side in sides.items()}


def _open_towers(
    store: FeatureCache,
    sides: Mapping[str, Mapping[Modality, Tower]],
    keys: Mapping[str, Mapping[Modality, FeatureKey]],
) -> dict[FeatureKey, _Tower]:
    towers: dict[FeatureKey, _Tower] = {}
    for name, own in keys.items():
        for modality, key in own.items():
            if key not in towers:
                towers[key] = _Tower(store.shelf(key), name, sides[name][modality].projection is not None)
    return towers


def _blocks(digests: list[str], size: int) -> Iterator[list[str]]:
    """`digests` in blocks; one empty block where there are none, for the texts."""
    for begin in range(0, max(1, len(digests)), size):
        yield digests[begin : begin + size]


def _load(folder: Path, device: torch.device) -> Clip:
    clip = load(folder, device=device)
    if device.type == "cpu":
        fold_batch_norms(clip.model)
        clip.model.to(memory_format=torch.channels_last)
    return clip


def _image_size(folder: Path) -> int:
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
    tower: _Tower,
    digests: list[str],
    pixels: NDArray[np.uint8],
    rows: NDArray[np.int64],
    batch_size: int,
) -> None:
    pending: list[FloatArray] = []
    begin = 0
    done = 0
    for chunk in progress(
        [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)],
        label=f"encode by {tower.model}",
        total=len(rows),
        unit="images",
        size=len,
    ):
        pending.append(encode_images(clip, pixels[chunk], batch_size=batch_size, pooled=tower.is_cut))
        done += len(chunk)
        if done - begin >= ROWS_A_PART or done == len(rows):
            tower.shelf.add(digests[begin:done], np.concatenate(pending))
            pending, begin = [], done


def _add_texts(clip: Clip, tower: _Tower, texts: Mapping[str, str], batch_size: int) -> None:
    features = encode_texts(clip, list(texts.values()), batch_size=batch_size, pooled=tower.is_cut)
    tower.shelf.add(list(texts), features)


def _text_digest(text: str) -> str:
    return sha256_bytes(text.encode())

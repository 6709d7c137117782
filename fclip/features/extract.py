"""Features of many images and texts by several models. Only features missing in the cache are computed.

Each image is decoded once. One model is in memory at a time; models of one architecture use the same modules in turn.
Models with equal towers share the features before the projections (`fclip.features.towers`). Images are decoded in
blocks of limited size, and each block is encoded by every tower that lacks features of it.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from fclip.errors import UserError
from fclip.features.cache import FeatureCache, FeatureKey, FeatureTable
from fclip.features.encode import encode_images, encode_texts
from fclip.features.similarity import FloatArray
from fclip.features.towers import Modality, Tower, read_towers
from fclip.files import sha256_bytes, sha256_json
from fclip.images.packs import ImagePacks
from fclip.images.pixels import decode
from fclip.models.device import resolve_device
from fclip.models.digests import model_sha256
from fclip.models.folder import read_config
from fclip.models.preprocess import Preprocess
from fclip.progress import Tracker

if TYPE_CHECKING:
    from fclip.models.store import Clip, ModelLoader  # open_clip takes seconds, and is not needed if all is cached

logger = logging.getLogger(__name__)
BLOCK_BYTES = 128 * 2**20  # size of a block of decoded pixels
ROWS_PER_PART = 2048
DEFAULT_SIDE = 224  # open_clip's default image size


@dataclass(frozen=True)
class Features:
    """The requested features of one model.

    Attributes:
        images: float32 [number of digests, d], in order, not normalised; [0, 0] if there are no digests.
        texts: the same for the texts.
        num_encoded: number of distinct images and texts that were not in the cache.
        num_cached: number of distinct images and texts that were in the cache.
    """

    model_sha256: str
    images: FloatArray
    texts: FloatArray
    num_encoded: int
    num_cached: int


@dataclass(frozen=True)
class _SharedTower:
    """A tower that several models share.

    Attributes:
        table: its cached features.
        model: the first of these models, which encodes.
        is_cut: whether the cached features are those before the projection.
    """

    table: FeatureTable
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
    loader: "ModelLoader | None" = None,
) -> dict[str, Features]:
    """Return the features of the images `digests` (read from `packs`) and of `texts`, by name of model.

    Equal towers are encoded once. A model is not loaded if all its features are cached.

    Args:
        models: model folders by name.
        cache: folder of the feature cache.
        loader: loads the models; several calls may share one, so that they reuse its model.

    Raises:
        UserError: a model cannot be loaded, or an image is in no pack or cannot be decoded.
    """
    target = resolve_device(device)
    model_towers = {name: read_towers(folder) for name, folder in models.items()}
    keys = {name: _keys(models[name], towers, target) for name, towers in model_towers.items()}
    shared = _open_towers(FeatureCache(cache), model_towers, keys)
    distinct, distinct_texts = list(dict.fromkeys(digests)), {_text_digest(text): text for text in texts}
    wanted = {"image": distinct, "text": list(distinct_texts)}
    uncached = {key: tower.table.missing(wanted[key.modality]) for key, tower in shared.items()}
    uncached_images = {image for key, missing in uncached.items() if key.modality == "image" for image in missing}
    to_decode = [image for image in distinct if image in uncached_images]
    side = max((_image_size(folder) for folder in models.values()), default=DEFAULT_SIDE)
    num_uncached = sum(map(len, uncached.values()))
    with closing(Tracker("Encoding", total=num_uncached, unit="inputs")) as tracker:
        for block in _blocks(to_decode, max(1, BLOCK_BYTES // (3 * side * side))):
            pixels: dict[Preprocess, NDArray[np.uint8]] = {}
            block_rows = {image: row for row, image in enumerate(block)}
            for name, folder in models.items():
                encodes = {modality: shared[key] for modality, key in keys[name].items() if shared[key].model == name}
                missing = encodes["image"].table.missing(block) if "image" in encodes else []
                missing_texts = encodes["text"].table.missing(wanted["text"]) if "text" in encodes else []
                if not missing and not missing_texts:
                    continue
                loader = loader or _new_loader()
                clip = loader.load(folder, device=target)
                restore = _prepare(clip)
                if missing_texts:
                    new_texts = {text: distinct_texts[text] for text in missing_texts}
                    _add_texts(clip, encodes["text"], new_texts, batch_size, tracker)
                if missing:
                    assert packs is not None
                    geometry = replace(clip.preprocess, mean=(0.0,) * 3, std=(1.0,) * 3)
                    if geometry not in pixels:
                        pixels[geometry] = _decode_all(packs, block, geometry)
                    rows = np.array([block_rows[image] for image in missing])
                    _add_images(clip, encodes["image"], missing, pixels[geometry], rows, batch_size, tracker)
                restore()
    return {
        name: Features(
            model_sha256=model_sha256(folder),
            images=model_towers[name]["image"].project(shared[keys[name]["image"]].table.get(digests)),
            texts=model_towers[name]["text"].project(
                shared[keys[name]["text"]].table.get([_text_digest(t) for t in texts])
            ),
            num_encoded=(num_encoded := sum(len(uncached[key]) for key in keys[name].values())),
            num_cached=len(distinct) + len(distinct_texts) - num_encoded,
        )
        for name, folder in models.items()
    }


def _keys(folder: Path, towers: Mapping[Modality, Tower], device: torch.device) -> dict[Modality, FeatureKey]:
    config, precision = sha256_json(read_config(folder)), f"{device.type}-float32"
    return {modality: FeatureKey(modality, tower.tower_sha256, config, precision) for modality, tower in towers.items()}


def _open_towers(
    store: FeatureCache,
    model_towers: Mapping[str, Mapping[Modality, Tower]],
    keys: Mapping[str, Mapping[Modality, FeatureKey]],
) -> dict[FeatureKey, _SharedTower]:
    shared: dict[FeatureKey, _SharedTower] = {}
    for name, model_keys in keys.items():
        for modality, key in model_keys.items():
            if key not in shared:
                shared[key] = _SharedTower(store.table(key), name, model_towers[name][modality].projection is not None)
    return shared


def _blocks(digests: list[str], size: int) -> Iterator[list[str]]:
    """Yield `digests` in blocks. Yields one empty block if there are none, so that texts are encoded."""
    for begin in range(0, max(1, len(digests)), size):
        yield digests[begin : begin + size]


def _new_loader() -> "ModelLoader":
    from fclip.models.store import ModelLoader

    return ModelLoader()


def _prepare(clip: "Clip") -> Callable[[], None]:
    """Make inference on a CPU faster. Return a function that restores the model, so that it can get other weights."""
    if clip.device.type != "cpu":
        return lambda: None
    from fclip.models.folding import fold_batch_norms  # timm takes seconds to import

    restore = fold_batch_norms(clip.model)
    clip.model.to(memory_format=torch.channels_last)
    return restore


def _image_size(folder: Path) -> int:
    size = read_config(folder)["model_cfg"]["vision_cfg"].get("image_size", DEFAULT_SIDE)
    return int(size if isinstance(size, int) else max(size))


def _decode_all(packs: ImagePacks, digests: list[str], preprocess: Preprocess) -> NDArray[np.uint8]:
    """uint8 [n, side, side, 3]. Pillow decodes without the interpreter's lock, so threads are enough."""
    pixels = np.empty((len(digests), preprocess.size, preprocess.size, 3), np.uint8)

    def decode_row(row: int, content: bytes) -> None:
        try:
            pixels[row] = decode(content, preprocess)
        except UserError as error:
            raise UserError(f"image {digests[row]}: {error}") from error

    starts = range(0, len(digests), 256)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for begin in starts:
            contents = packs.read_many(digests[begin : begin + 256])
            list(pool.map(decode_row, range(begin, begin + len(contents)), contents))
    return pixels


def _add_images(
    clip: "Clip",
    tower: _SharedTower,
    digests: list[str],
    pixels: NDArray[np.uint8],
    rows: NDArray[np.int64],
    batch_size: int,
    tracker: Tracker,
) -> None:
    pending: list[FloatArray] = []
    begin = 0
    done = 0
    for start in range(0, len(rows), batch_size):
        chunk = rows[start : start + batch_size]
        pending.append(encode_images(clip, pixels[chunk], batch_size=batch_size, pooled=tower.is_cut))
        tracker.advance(len(chunk), f"with {tower.model}")
        done += len(chunk)
        if done - begin >= ROWS_PER_PART or done == len(rows):
            tower.table.add(digests[begin:done], np.concatenate(pending))
            pending, begin = [], done


def _add_texts(clip: "Clip", tower: _SharedTower, texts: Mapping[str, str], batch_size: int, tracker: Tracker) -> None:
    features = encode_texts(
        clip,
        list(texts.values()),
        batch_size=batch_size,
        pooled=tower.is_cut,
        on_batch=lambda num: tracker.advance(num, f"with {tower.model}"),
    )
    tower.table.add(list(texts), features)


def _text_digest(text: str) -> str:
    return sha256_bytes(text.encode())

"""Embeddings of a catalog by one model. Those of earlier passes are kept, and only those of new inputs are computed.

Features that evaluation has cached are used too. The folders can be deleted at any time.
"""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fclip.features.cache import FORMAT_VERSION
from fclip.features.similarity import FloatArray, unit
from fclip.files import atomic_dir, sha256_bytes, sha256_json

if TYPE_CHECKING:
    from fclip.images.packs import ImagePacks

logger = logging.getLogger(__name__)
DIGEST_BYTES = 32
KEPT = 2  # of the champion and of the challenger


@dataclass(frozen=True)
class Embedded:
    """Embeddings of images and texts, float32 [n, d], L2-normalised.

    Attributes:
        num_encoded: number of distinct images and texts that were encoded. num_kept: of the others.
    """

    images: FloatArray
    texts: FloatArray
    num_encoded: int
    num_kept: int


@dataclass(frozen=True)
class _Known:
    """Embeddings, float32 [n, d], and the row of each digest."""

    rows: Mapping[str, int]
    vectors: FloatArray


def embed(
    model: Path,
    model_sha256: str,
    *,
    packs: "ImagePacks",
    images: Sequence[str],
    texts: Sequence[str],
    kept: Path,
    cache: Path,
    device: str,
    batch_size: int,
) -> Embedded:
    """Return the embeddings of images, by their digests, and of texts, by the model in a folder.

    Args:
        kept: folder of the embeddings of earlier passes. What is returned replaces those of the model.
        cache: folder of the feature cache.

    Raises:
        UserError: as in `extract_features`.
    """
    from fclip.features.extract import extract_features  # torch takes seconds to import
    from fclip.models.device import resolve_device

    folder = kept / sha256_json([FORMAT_VERSION, model_sha256, resolve_device(device).type])[:32]
    known = {name: _read(folder, name) for name in ("images", "texts")}
    digests = {"images": list(images), "texts": [sha256_bytes(text.encode()) for text in texts]}
    by_digest = dict(zip(digests["texts"], texts, strict=True))
    missing = {
        name: [digest for digest in dict.fromkeys(wanted) if digest not in known[name].rows]
        for name, wanted in digests.items()
    }
    (new,) = extract_features(
        {model_sha256[:12]: model},  # progress names it
        packs=packs,
        digests=missing["images"],
        texts=[by_digest[digest] for digest in missing["texts"]],
        cache=cache,
        device=device,
        batch_size=batch_size,
    ).values()
    added = {"images": unit(new.images), "texts": unit(new.texts)}
    vectors = {name: _gathered(known[name], missing[name], added[name], digests[name]) for name in digests}
    distinct = {name: set(wanted) for name, wanted in digests.items()}
    if any(distinct[name] != known[name].rows.keys() for name in digests):
        with atomic_dir(folder) as temporary:
            for name in digests:
                _write(temporary, name, digests[name], vectors[name])
        _delete_older(kept)
    num_distinct = sum(map(len, distinct.values()))
    return Embedded(vectors["images"], vectors["texts"], new.num_encoded, num_distinct - new.num_encoded)


def _gathered(known: _Known, missing: Sequence[str], added: FloatArray, wanted: Sequence[str]) -> FloatArray:
    """Return the embeddings of `wanted`, from those that were known and those that were added."""
    if not missing:
        everything, rows = known.vectors, known.rows
    else:
        everything = np.concatenate([known.vectors, added]) if len(known.vectors) else added
        rows = {**known.rows, **{digest: len(known.vectors) + row for row, digest in enumerate(missing)}}
    return everything[np.fromiter((rows[digest] for digest in wanted), np.int64, len(wanted))]


def _read(folder: Path, name: str) -> _Known:
    """Read what is kept in `folder`: digests, as bytes [n, 32], and vectors, which are mapped into memory."""
    nothing = _Known({}, np.empty((0, 0), np.float32))
    if not folder.is_dir():
        return nothing
    try:
        digests = np.load(folder / f"{name}-sha256.npy", allow_pickle=False)
        vectors = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        listed = digests.tobytes().hex()
        if digests.shape != (len(vectors), DIGEST_BYTES) or digests.dtype != np.uint8 or vectors.ndim != 2:
            raise ValueError(f"{digests.shape} digests and {vectors.shape} vectors")
    except (OSError, ValueError, EOFError) as error:
        logger.warning("Ignored %s of %s, which is damaged (%s)", name, folder, error)
        return nothing
    step = 2 * DIGEST_BYTES
    return _Known({listed[start : start + step]: start // step for start in range(0, len(listed), step)}, vectors)


def _write(folder: Path, name: str, digests: Sequence[str], vectors: FloatArray) -> None:
    rows = {digest: row for row, digest in reversed(list(enumerate(digests)))}  # the first row of each digest
    content = np.frombuffer(bytes.fromhex("".join(rows)), np.uint8).reshape(len(rows), DIGEST_BYTES)
    np.save(folder / f"{name}-sha256.npy", content)
    np.save(folder / f"{name}.npy", vectors[np.fromiter(rows.values(), np.int64, len(rows))])


def _delete_older(kept: Path) -> None:
    folders = sorted((path for path in kept.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for folder in folders[:-KEPT]:
        shutil.rmtree(folder)

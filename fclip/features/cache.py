"""Features by what they are made of: parts of Parquet that are only ever added to, and may be deleted at any time.

A shelf holds what one tower gives with one preprocessing and precision; an entry is named by the digest of the image or
text. So evaluation and embedding share what either has encoded, and a rerun after an interruption goes on from the last
part.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fclip.files import atomic_path, sha256_json

logger = logging.getLogger(__name__)
FORM = 2  # raise when what encodes changes what it gives for the same key


@dataclass(frozen=True)
class FeatureKey:
    """Everything that features depend on beside their input."""

    modality: Literal["image", "text"]
    tower_sha256: str
    preprocessing: str  # digest of how pixels or tokens are made
    precision: str  # device and number format, e.g. "cpu-float32"


class FeatureShelf:
    """The features of one key: in memory once read, on disk in parts of a few thousand rows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: dict[str, int] = {}
        self._parts: list[NDArray[np.float32]] = []
        self._starts: list[int] = [0]
        for path in sorted(folder.glob("part-*.parquet")):
            self._read(path)

    def missing(self, digests: Sequence[str]) -> list[str]:
        """Those of `digests` that are not here, once each, in their order."""
        return [digest for digest in dict.fromkeys(digests) if digest not in self._rows]

    def get(self, digests: Sequence[str]) -> NDArray[np.float32]:
        """Features [n, d] in the order of `digests`; KeyError when one is not here."""
        if not digests:
            return np.empty((0, 0), np.float32)
        rows = np.array([self._rows[digest] for digest in digests])
        parts = np.searchsorted(self._starts, rows, side="right") - 1
        features = np.empty((len(rows), self._parts[0].shape[1]), np.float32)
        for part in np.unique(parts):
            here = parts == part
            features[here] = self._parts[part][rows[here] - self._starts[part]]
        return features

    def add(self, digests: Sequence[str], features: NDArray[np.float32]) -> None:
        """Keep `features` [n, d] of `digests`, in memory and as one more part on disk."""
        assert len(digests) == len(features)
        if not len(digests):
            return
        table = pa.table({"sha256": pa.array(digests, pa.string()), "features": _as_lists(features)})
        name = sha256_json(list(digests))[:32]
        with atomic_path(self._folder / f"part-{name}.parquet") as temporary:
            pq.write_table(table, temporary, compression="none", use_dictionary=False, write_statistics=False)
        self._take(digests, features)

    def _read(self, path: Path) -> None:
        try:
            table = pq.read_table(path, memory_map=True)
            digests = table["sha256"].to_pylist()
            column = table["features"].combine_chunks()
            features = column.flatten().to_numpy().reshape(len(digests), column.type.list_size)
        except (pa.ArrowException, OSError, KeyError) as error:
            logger.warning("%s is damaged (%s): it goes, and its rows are encoded again", path, error)
            path.unlink(missing_ok=True)
            return
        self._take(digests, features)

    def _take(self, digests: Sequence[str], features: NDArray[np.float32]) -> None:
        start = self._starts[-1]
        self._parts.append(np.asarray(features, np.float32))
        self._starts.append(start + len(digests))
        for offset, digest in enumerate(digests):
            self._rows.setdefault(digest, start + offset)


class FeatureCache:
    """The shelves below one folder: `<tower_sha256>/<modality>-<digest of the key>/`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def shelf(self, key: FeatureKey) -> FeatureShelf:
        """The shelf of `key`, read from disk."""
        name = f"{key.modality}-{sha256_json([FORM, asdict(key)])[:16]}"
        return FeatureShelf(self._folder / key.tower_sha256 / name)


def _as_lists(features: NDArray[np.float32]) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(features, np.float32).ravel(), pa.float32())
    return pa.FixedSizeListArray.from_arrays(flat, features.shape[1])

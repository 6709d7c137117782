"""Feature cache: append-only Parquet files, which may be deleted at any time.

A table has the features of one tower with one preprocessing and precision, by digest of the image or text. Evaluation
and embedding share these features, and a rerun after an interruption continues after the last written part.
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

from fclip.errors import UserError
from fclip.files import atomic_path, sha256_json

logger = logging.getLogger(__name__)
FORMAT_VERSION = 2  # increase if encoding gives different features for the same key


@dataclass(frozen=True)
class FeatureKey:
    """Everything that features depend on besides their input.

    Attributes:
        preprocessing: digest of the preprocessing and tokenisation config.
        precision: device and number format, e.g. "cpu-float32".
    """

    modality: Literal["image", "text"]
    tower_sha256: str
    preprocessing: str
    precision: str


class FeatureTable:
    """The features of one key, on disk in parts of a few thousand rows. A part is read when one of its rows is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: dict[str, int] = {}
        self._parts: list[NDArray[np.float32] | Path] = []  # a path until it is read
        self._starts: list[int] = [0]
        for path in sorted(folder.glob("part-*.parquet")):
            self._read(path)

    def missing(self, digests: Sequence[str]) -> list[str]:
        """Return the digests that are not in the table, in order and without duplicates."""
        return [digest for digest in dict.fromkeys(digests) if digest not in self._rows]

    def get(self, digests: Sequence[str]) -> NDArray[np.float32]:
        """Return the features [n, d] of `digests` in order; raises KeyError if one is missing."""
        if not digests:
            return np.empty((0, 0), np.float32)
        rows = np.array([self._rows[digest] for digest in digests])
        parts = np.searchsorted(self._starts, rows, side="right") - 1
        features: NDArray[np.float32] | None = None
        for part in np.unique(parts).tolist():
            in_part, values = parts == part, self._features(part)
            if features is None:
                features = np.empty((len(rows), values.shape[1]), np.float32)
            features[in_part] = values[rows[in_part] - self._starts[part]]
        assert features is not None
        return features

    def add(self, digests: Sequence[str], features: NDArray[np.float32]) -> None:
        """Add the features [n, d] of `digests`, in memory and as a new part on disk."""
        assert len(digests) == len(features)
        if not len(digests):
            return
        table = pa.table({"sha256": pa.array(digests, pa.string()), "features": as_lists(features)})
        name = sha256_json(list(digests))[:32]
        with atomic_path(self._folder / f"part-{name}.parquet") as temporary:
            pq.write_table(table, temporary, compression="none", use_dictionary=False, write_statistics=False)
        self._append(digests, features)

    def _read(self, path: Path) -> None:
        try:
            # `pq.read_table` would import pyarrow.dataset, which takes a second.
            digests = pq.ParquetFile(path, memory_map=True).read(columns=["sha256"])["sha256"].to_pylist()
        except (pa.ArrowException, OSError, KeyError) as error:
            logger.warning("Deleted %s, which is damaged (%s); its rows will be encoded again", path, error)
            path.unlink(missing_ok=True)
            return
        self._append(digests, path)

    def _features(self, part: int) -> NDArray[np.float32]:
        values = self._parts[part]
        if isinstance(values, Path):
            try:
                column = pq.ParquetFile(values, memory_map=True).read(columns=["features"])["features"].combine_chunks()
                values = column.flatten().to_numpy().reshape(len(column), column.type.list_size)
            except (pa.ArrowException, OSError, KeyError) as error:
                raise UserError(f"{values} is damaged ({error}); delete it, and run the stage again") from error
            self._parts[part] = values
        return values

    def _append(self, digests: Sequence[str], features: NDArray[np.float32] | Path) -> None:
        start = self._starts[-1]
        self._parts.append(features if isinstance(features, Path) else np.asarray(features, np.float32))
        self._starts.append(start + len(digests))
        for offset, digest in enumerate(digests):
            self._rows.setdefault(digest, start + offset)


class FeatureCache:
    """The feature tables in one folder: `<tower_sha256>/<modality>-<digest of the key>/`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def table(self, key: FeatureKey) -> FeatureTable:
        """Read the table of `key` from disk."""
        name = f"{key.modality}-{sha256_json([FORMAT_VERSION, asdict(key)])[:16]}"
        return FeatureTable(self._folder / key.tower_sha256 / name)


def as_lists(features: NDArray[np.float32]) -> pa.Array:
    """Return vectors [n, d] as a column of fixed-size lists of float32."""
    flat = pa.array(np.ascontiguousarray(features, np.float32).ravel(), pa.float32())
    return pa.FixedSizeListArray.from_arrays(flat, features.shape[1])

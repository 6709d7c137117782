"""Facts about images (digests, sizes, fingerprints), one row per image."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fclip.catalog.fingerprints import THUMBNAIL_SIDE, fingerprint
from fclip.catalog.images import NormalisedImage

THUMBNAIL_BYTES = 3 * THUMBNAIL_SIDE**2
TYPES = {
    "image_sha256": pa.binary(32),
    "source_width": pa.int32(),
    "source_height": pa.int32(),
    "width": pa.int32(),
    "height": pa.int32(),
    "num_bytes": pa.int32(),
    "brightness": pa.float32(),
    "contrast": pa.float32(),
    "saturation": pa.float32(),
    "white_border": pa.float32(),
    "phash": pa.uint64(),
    "thumbnail": pa.binary(THUMBNAIL_BYTES),
}


@dataclass(frozen=True)
class ImageFacts:
    """Facts about n images, in columns.

    Attributes:
        image_sha256: S32 [n], digests of the stored bytes.
        source_width, source_height: pixels of the source image; width, height: pixels of the stored image.
        num_bytes: bytes of the stored image.
        brightness, contrast, saturation, white_border, phash, thumbnail: see `fclip.catalog.fingerprints`.
    """

    image_sha256: NDArray[np.void]
    source_width: NDArray[np.int32]
    source_height: NDArray[np.int32]
    width: NDArray[np.int32]
    height: NDArray[np.int32]
    num_bytes: NDArray[np.int32]
    brightness: NDArray[np.float32]
    contrast: NDArray[np.float32]
    saturation: NDArray[np.float32]
    white_border: NDArray[np.float32]
    phash: NDArray[np.uint64]
    thumbnail: NDArray[np.uint8]

    @classmethod
    def from_images(cls, images: Sequence[NormalisedImage]) -> "ImageFacts":
        """Return the facts of normalised images."""
        prints = fingerprint([image.reduction for image in images])
        digests = b"".join(bytes.fromhex(image.stored.sha256) for image in images)

        def column(values: list[int]) -> NDArray[np.int32]:
            return np.array(values, np.int32)

        return cls(
            image_sha256=np.frombuffer(digests, "V32"),
            source_width=column([image.source_width for image in images]),
            source_height=column([image.source_height for image in images]),
            width=column([image.stored.width for image in images]),
            height=column([image.stored.height for image in images]),
            num_bytes=column([len(image.stored.content) for image in images]),
            **vars(prints),
        )

    @classmethod
    def joined(cls, parts: Sequence["ImageFacts"]) -> "ImageFacts":
        """Return the rows of all parts, in order."""
        if not parts:
            return cls.from_table(pa.table({name: pa.array([], kind) for name, kind in TYPES.items()}))
        return cls(
            **{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)}
        )

    @classmethod
    def from_table(cls, table: pa.Table) -> "ImageFacts":
        """Return the facts in a table that has at least the columns `TYPES`."""
        columns: dict[str, Any] = {}
        for name, kind in TYPES.items():
            array = table[name].combine_chunks()
            if pa.types.is_fixed_size_binary(kind):
                size = kind.byte_width
                raw = np.frombuffer(array.buffers()[1] or b"", np.uint8)[array.offset * size :][: len(array) * size]
                columns[name] = raw.view("V32") if name == "image_sha256" else raw.reshape(-1, size)
            else:
                columns[name] = array.to_numpy(zero_copy_only=False)
        return cls(**columns)

    def to_table(self) -> pa.Table:
        """Return a table with the columns `TYPES`."""

        def column(name: str, kind: pa.DataType) -> pa.Array:
            values = np.ascontiguousarray(getattr(self, name))
            if pa.types.is_fixed_size_binary(kind):
                return pa.FixedSizeBinaryArray.from_buffers(kind, len(values), [None, pa.py_buffer(values.tobytes())])
            return pa.array(values, kind)

        return pa.table({name: column(name, kind) for name, kind in TYPES.items()})

    def hex_digests(self) -> list[str]:
        """The digests of the stored bytes, in hex."""
        return [digest.tobytes().hex() for digest in self.image_sha256]

    def take(self, rows: NDArray[np.int64]) -> "ImageFacts":
        """Return the rows with the indices `rows`."""
        return ImageFacts(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def __len__(self) -> int:
        return len(self.phash)

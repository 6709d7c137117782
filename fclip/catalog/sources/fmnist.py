"""Fashion-MNIST (Xiao, Rasul, Vollgraf 2017): the four published gzipped idx files."""

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from fclip.catalog.reading.files import describe_file, require_file
from fclip.catalog.rows import RefusedRow, SourceRow, sample_rows
from fclip.catalog.sources.registry import SourceKind
from fclip.config import config
from fclip.errors import UserError
from fclip.mirror.source_access import SourceAccess

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
PARTS = (("train", "train", "val"), ("t10k", "test", "test"))  # name in files, in product ids, split
SAMPLE_SEED = 0
SIDE = 28
MAX_BYTES = 16 + 60_000 * SIDE**2


@config
class FmnistSource:
    """Fashion-MNIST: its four gzipped idx files. The 60,000 training images are the split val, the 10,000 others
    test."""

    kind: Literal["fmnist"]
    path: str
    """Folder with the four files."""
    num_select: int | None = None
    """Number of training images, a fixed random sample of the 60,000; null: all."""

    def __post_init__(self) -> None:
        if self.num_select is not None and not 1 <= self.num_select <= 60_000:
            raise ValueError(f"num_select must be from 1 to 60000, not {self.num_select}")


def describe(source: FmnistSource, access: SourceAccess) -> dict[str, object]:
    """Return the digests of the four files, and the number of rows after sampling."""
    folder = access.root / source.path
    files = [require_file(folder / name) for part, _, _ in PARTS for name in _names(part)]
    num_train, num_test = (len(_read_idx(folder / _names(part)[1], 1)) for part, _, _ in PARTS)
    return {
        "kind": source.kind,
        "files": [describe_file(file) for file in files],
        "num_rows": len(_sample(source, num_train)) + num_test,
    }


def read(source: FmnistSource, access: SourceAccess, limit: int | None) -> Iterator[SourceRow | RefusedRow]:
    """Yield the sampled training pictures (split `val`), then the test pictures (split `test`), as grey PNG.

    A row's number is its position among the 70,000. A larger `num_select` includes the sample of a smaller one.
    """
    folder = access.root / source.path
    parts = [(_read_idx(folder / _names(part)[0], 3), _read_idx(folder / _names(part)[1], 1)) for part, _, _ in PARTS]
    rows: list[tuple[int, int]] = []  # (part, position in the part)
    for index, (pictures, labels) in enumerate(parts):
        if len(pictures) != len(labels) or labels.max(initial=0) >= len(CLASSES):
            raise UserError(f"{folder}: {_names(PARTS[index][0])} do not match each other; fetch them again")
        places = _sample(source, len(labels)) if index == 0 else range(len(labels))
        rows.extend((index, int(place)) for place in places)
    selected = sample_rows(len(rows), limit)
    for row, (index, place) in enumerate(rows):
        if selected is not None and row not in selected:
            continue
        pictures, labels = parts[index]
        _, name, split = PARTS[index]
        label = CLASSES[labels[place]]
        yield SourceRow(
            source_row=place + index * len(parts[0][1]),
            product_id=f"{name}-{place:05d}",
            attributes={"label": label},
            texts={},
            images=(_png(pictures[place]),),
            split=split,
            raw={"part": name, "place": place, "label": label},
        )


def _names(part: str) -> tuple[str, str]:
    return f"{part}-images-idx3-ubyte.gz", f"{part}-labels-idx1-ubyte.gz"


def _sample(source: FmnistSource, num_rows: int) -> list[int]:
    if source.num_select is None:
        return list(range(num_rows))
    return sorted(np.random.default_rng(SAMPLE_SEED).permutation(num_rows)[: source.num_select].tolist())


def _read_idx(path: Path, num_dimensions: int) -> npt.NDArray[np.uint8]:
    """Return the unsigned bytes of an idx file (format: yann.lecun.com/exdb/mnist) in their shape."""
    try:
        with gzip.open(require_file(path)) as file:
            content = file.read(MAX_BYTES + 1)
        magic = int.from_bytes(content[:4], "big")
        shape = tuple(int(size) for size in np.frombuffer(content, ">i4", num_dimensions, 4))
        if magic != 0x800 + num_dimensions or shape[1:] != (SIDE, SIDE)[: num_dimensions - 1] or shape[0] < 0:
            raise ValueError("not an idx file of unsigned bytes")
        return np.frombuffer(content, np.uint8, offset=4 + 4 * num_dimensions).reshape(shape)
    except (ValueError, EOFError, OSError, zlib.error) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is damaged ({error}); fetch it again") from error


def _png(picture: npt.NDArray[np.uint8]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


FMNIST = SourceKind(
    kind="fmnist",
    label="Fashion-MNIST",
    description="The four published gzipped idx files of Fashion-MNIST.",
    config=FmnistSource,
    describe=describe,
    read=read,
    fixed_splits=tuple(split for _, _, split in PARTS),
)

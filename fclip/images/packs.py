"""Image packs: immutable Parquet files of encoded images, read by digest.

Version control is slow with millions of small files, but not with a few hundred packs. The name of a pack is derived
from its content. Rows are sorted by digest and not compressed, since the images already are. Row groups are small, so
that reading one image reads little more than its bytes.
"""

import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from fclip.errors import UserError
from fclip.files import atomic_path, sha256_json

MAX_PACK_BYTES = 64 * 2**20
ROW_GROUP_BYTES = 2**19
SCHEMA = pa.schema(
    [
        pa.field("image_sha256", pa.string(), nullable=False),
        pa.field("bytes", pa.binary(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
    ]
)


@dataclass(frozen=True)
class StoredImage:
    """An encoded image. `sha256` is the hex digest of `content`; width and height are in pixels."""

    sha256: str
    content: bytes
    width: int
    height: int


class PackWriter:
    """Writes images into packs in `folder`, without duplicates.

    Use as a context manager: the last pack is written on exit, unless there was an error. The packs depend only on the
    images and their order. A pack is written in a thread while images of the next pack are added.

    Args:
        max_bytes: maximum number of image bytes per pack.
        stored: digests of images in existing packs, which are not written again.
    """

    def __init__(self, folder: Path, *, max_bytes: int = MAX_PACK_BYTES, stored: Iterable[str] = ()) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._seen = set(stored)
        self._pending: list[StoredImage] = []
        self._pending_bytes = 0
        self._thread = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None
        self.packs: list[Path] = []

    def __enter__(self) -> "PackWriter":
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._thread:
            if kind is None:
                self._finish_pack()
                self._wait()

    def add(self, image: StoredImage) -> None:
        """Add an image. If it does not fit into the current pack, write that pack and begin a new one."""
        if image.sha256 in self._seen:
            return
        if self._pending and self._pending_bytes + len(image.content) > self._max_bytes:
            self._finish_pack()
        self._seen.add(image.sha256)
        self._pending.append(image)
        self._pending_bytes += len(image.content)

    def _finish_pack(self) -> None:
        if not self._pending:
            return
        self._wait()  # keep at most two packs in memory
        images = sorted(self._pending, key=lambda image: image.sha256)
        path = self._folder / f"pack-{sha256_json([image.sha256 for image in images])}.parquet"
        self._writing = self._thread.submit(_write_pack, path, images, self._pending_bytes)
        self.packs.append(path)
        self._pending, self._pending_bytes = [], 0

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.result()


def _write_pack(path: Path, images: Sequence[StoredImage], num_bytes: int) -> None:
    table = pa.Table.from_arrays(
        [
            pa.array([image.sha256 for image in images], pa.string()),
            pa.array([image.content for image in images], pa.binary()),
            pa.array([image.width for image in images], pa.int32()),
            pa.array([image.height for image in images], pa.int32()),
        ],
        schema=SCHEMA,
    )
    rows = max(1, ROW_GROUP_BYTES * len(images) // max(1, num_bytes))
    with atomic_path(path) as temporary:
        pq.write_table(
            table, temporary, row_group_size=rows, compression="none", use_dictionary=False, write_statistics=False
        )


def pack_digests(pack: Path) -> list[str]:
    """Return the sorted digests of the images in a pack; raises OSError or pyarrow's errors if it is not a pack."""
    digests: list[str] = pq.read_table(pack, columns=["image_sha256"])["image_sha256"].to_pylist()
    return digests


class ImagePacks:
    """Encoded images by digest, from the packs of one or several folders.

    The constructor reads only the digests; images are read on demand. Thread-safe.

    Raises:
        UserError: a folder has no packs (not pulled or not ingested), or a pack is damaged.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)
        self._lock = threading.Lock()
        self._files: dict[int, pq.ParquetFile] = {}
        self._paths: list[Path] = []
        self._positions: dict[str, tuple[int, int, int]] = {}  # digest -> pack, row group, row in it
        for folder in self._folders:
            paths = sorted(folder.glob("pack-*.parquet"))
            if not paths:
                raise UserError(f"{folder}: no image packs; run `dvc pull` or ingest the dataset again")
            for path in paths:
                self._index(path)

    def __reduce__(self) -> tuple[type["ImagePacks"], tuple[tuple[Path, ...]]]:
        return ImagePacks, (self._folders,)  # unpickling opens the folders again

    def __len__(self) -> int:
        return len(self._positions)

    def __contains__(self, digest: object) -> bool:
        return digest in self._positions

    def read(self, digest: str) -> bytes:
        """Return the encoded image with this digest; raises UserError if there is none."""
        return self.read_many([digest])[0]

    def read_many(self, digests: Sequence[str]) -> list[bytes]:
        """Return the encoded images with these digests, in order. Each row group is read once.

        Raises:
            UserError: a digest is in no pack.
        """
        wanted: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        for position, digest in enumerate(digests):
            if digest not in self._positions:
                folders = ", ".join(str(folder) for folder in self._folders)
                raise UserError(f"image {digest} is in no pack of {folders}; run `dvc pull` or ingest again")
            pack, group, row = self._positions[digest]
            wanted[pack, group].append((position, row))
        images: list[bytes] = [b""] * len(digests)
        for (pack, group), positions in sorted(wanted.items()):
            column = self._read_group(pack, group)
            for position, row in positions:
                images[position] = column[row].as_py()
        return images

    def _index(self, path: Path) -> None:
        pack = len(self._paths)
        self._paths.append(path)
        file = self._open(pack)
        digests = iter(file.read(columns=["image_sha256"]).column(0).to_pylist())
        for group in range(file.num_row_groups):
            for row in range(file.metadata.row_group(group).num_rows):
                self._positions.setdefault(next(digests), (pack, group, row))

    def _read_group(self, pack: int, group: int) -> pa.ChunkedArray:
        with self._lock:
            return self._open(pack).read_row_group(group, columns=["bytes"], use_threads=False).column(0)

    def _open(self, pack: int) -> pq.ParquetFile:
        if pack not in self._files:
            path = self._paths[pack]
            try:
                self._files[pack] = pq.ParquetFile(path, memory_map=True)
            except (pa.ArrowInvalid, OSError) as error:
                raise UserError(f"{path} is damaged ({error}); delete it and run `dvc pull` or ingest again") from None
        return self._files[pack]

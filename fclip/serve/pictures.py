"""Small pictures of products, from the image packs of the workspace."""

import io
import re
import threading
from collections import OrderedDict
from pathlib import Path

from PIL import Image

from fclip.errors import UserError
from fclip.images.packs import ImagePacks
from fclip.images.pixels import read_image
from fclip.serve.errors import NotThere

SIDE = 256  # pixels of the longer side
QUALITY = 78
MAX_CACHED = 2000  # pictures, about 10 KiB each
DIGEST = re.compile(r"[0-9a-f]{64}")


class Pictures:
    """WebP pictures by dataset and digest, the latest in memory. Thread-safe."""

    def __init__(self, workspace: Path) -> None:
        self._folder = workspace / "data" / "images"
        self._packs: dict[str, tuple[tuple[str, ...], ImagePacks]] = {}
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, dataset: str, sha256: str, datasets: frozenset[str]) -> bytes:
        """Return a picture as WebP.

        Args:
            datasets: those of the indexes; no other folder is opened.

        Raises:
            NotThere: the image is in no pack.
        """
        if dataset not in datasets or not DIGEST.fullmatch(sha256):
            raise NotThere("no such picture")
        with self._lock:
            if sha256 in self._cache:
                self._cache.move_to_end(sha256)
                return self._cache[sha256]
        try:
            content = self._open(dataset).read(sha256)
        except (UserError, OSError) as error:
            raise NotThere("the image packs of the workspace do not have this picture; run `dvc pull`") from error
        picture = _small(content)
        with self._lock:
            self._cache[sha256] = picture
            if len(self._cache) > MAX_CACHED:
                self._cache.popitem(last=False)
        return picture

    def _open(self, dataset: str) -> ImagePacks:
        """Return the packs of a dataset, opened again if their names have changed."""
        folder = self._folder / dataset
        names = tuple(sorted(path.name for path in folder.glob("pack-*.parquet")))
        with self._lock:
            known = self._packs.get(dataset)
            if known is None or known[0] != names:
                self._packs[dataset] = known = (names, ImagePacks([folder]))
            return known[1]


def _small(content: bytes) -> bytes:
    image = read_image(content, draft_side=SIDE)
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY, method=2)
    return buffer.getvalue()

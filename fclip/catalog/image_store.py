"""The cache of all ingested images, so that the next ingest decodes only new ones.

    FOLDER/<key>/images.parquet      facts of each stored image, by number
    FOLDER/<key>/sources.parquet     source digest -> digest of the stored image
    FOLDER/<key>/refused.parquet     source digest -> reason of the refusal
    FOLDER/<key>/duplicates.parquet  pairs of near-duplicates among the distinct appearances
    FOLDER/<key>/packs/              the image packs

The key is a digest of everything that a stored image depends on besides its source: configuration, code and decoders.
The folder may be deleted at any time. The next ingest then decodes all images and writes new packs; the catalog is the
same.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg
from numpy.typing import NDArray

import fclip.catalog.fingerprints
import fclip.catalog.images
import fclip.catalog.jpegs
from fclip.catalog.config import DuplicateConfig, ImageConfig
from fclip.catalog.duplicates import distinct_appearances, near_duplicates
from fclip.catalog.image_facts import ImageFacts
from fclip.catalog.images import NormalisedImage
from fclip.catalog.rows import Refusal
from fclip.files import atomic_path, link_or_copy, sha256_file, sha256_json
from fclip.images.packs import pack_digests

BATCH = 512
NO_PAIRS = np.empty((0, 2), np.int64)


class ImageStore:
    """Images by the SHA-256 of their source bytes, numbered from 0; images of earlier runs come first.

    The constructor reads the images of earlier runs; there are none if `folder` is None or empty. `add` adds new
    images. `save` writes all images for the next run.
    """

    def __init__(self, folder: Path | None, config: ImageConfig) -> None:
        self._folder = None if folder is None else folder / _key(config)
        self._number: dict[bytes, int] = {}
        self._number_of_stored: dict[bytes, int] = {}
        self._refused: dict[bytes, Refusal] = {}
        self._parts: list[ImageFacts] = []
        self._new: list[NormalisedImage] = []
        self._pairs = NO_PAIRS
        self._pairs_settings: Mapping[str, object] = {}
        self.packs: tuple[Path, ...] = ()
        if self._folder is not None and self._folder.exists() and not self._open(self._folder):
            shutil.rmtree(self._folder)  # damaged or incomplete
        self.num_known = len(self._number_of_stored)

    def find(self, source: bytes) -> int | Refusal | None:
        """Return the number of the image with this source digest, or its refusal, or None if it is new."""
        number = self._number.get(source)
        return self._refused.get(source) if number is None else number

    def add(self, source: bytes, image: NormalisedImage | Refusal) -> int | Refusal:
        """Add a new image, or its refusal, under its source digest. Return its number, or the refusal.

        Sources with the same stored bytes (for example the same pixels with other metadata) share one number.
        """
        if isinstance(image, Refusal):
            self._refused[source] = image
            return image
        new = len(self._number_of_stored)
        number = self._number[source] = self._number_of_stored.setdefault(bytes.fromhex(image.stored.sha256), new)
        if number == new:
            self._new.append(image)
            if len(self._new) >= BATCH:
                self._flush()
        return number

    def facts(self) -> ImageFacts:
        """Return the facts of all images, by number."""
        self._flush()
        if len(self._parts) != 1:
            self._parts = [ImageFacts.joined(self._parts)]
        return self._parts[0]

    def near_duplicates(self, config: DuplicateConfig) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the appearance of each image [n] and the pairs [m, 2] of near-duplicate appearances.

        Pairs from earlier runs are reused; only pairs with a new image are computed.
        """
        facts = self.facts()
        appearances, appearance_of = distinct_appearances(facts.phash, facts.thumbnail)
        if self._pairs_settings != (settings := self._settings(config, self.num_known)):
            self._pairs, first_new = NO_PAIRS, 0
        else:
            first_new = int(appearance_of[: self.num_known].max(initial=-1)) + 1
        self._pairs = np.concatenate([self._pairs, near_duplicates(appearances, config, first_new=first_new)])
        self._pairs_settings = settings | {"num_images": len(facts)}
        return appearance_of, self._pairs

    def save(self, packs: Sequence[Path]) -> None:
        """Write all images for the next run.

        `images.parquet` is written last and lists the valid files, so that a killed run leaves a consistent store.

        Args:
            packs: all packs of this run, old and new.
        """
        if self._folder is None:
            return
        pack_folder = self._folder / "packs"
        pack_folder.mkdir(parents=True, exist_ok=True)
        for pack in packs:
            if not (pack_folder / pack.name).exists():
                link_or_copy(pack, pack_folder / pack.name)
        refused = {"source_sha256": pa.array(self._refused, pa.binary(32))}
        for name in ("stage", "reason", "detail"):
            refused[name] = pa.array([getattr(refusal, name) for refusal in self._refused.values()], pa.string())
        write_store_table(self._folder / "refused.parquet", pa.table(refused), {})
        pairs = pa.table({"i": self._pairs[:, 0], "j": self._pairs[:, 1]})
        write_store_table(self._folder / "duplicates.parquet", pairs, self._pairs_settings)
        images = self.facts().to_table()
        stored = images["image_sha256"].take(pa.array(self._number.values(), pa.int64()))
        sources = pa.table({"source_sha256": pa.array(self._number, pa.binary(32)), "image_sha256": stored})
        write_store_table(self._folder / "sources.parquet", sources, {})
        write_store_table(self._folder / "images.parquet", images, {"packs": sorted(pack.name for pack in packs)})
        for other in self._folder.parent.iterdir():
            if other.is_dir() and other != self._folder:
                shutil.rmtree(other)

    def _open(self, folder: Path) -> bool:
        """Read the store of an earlier run. Return False if it is damaged or incomplete."""
        try:
            images = pq.read_table(folder / "images.parquet")
            sources = pq.read_table(folder / "sources.parquet")
            refused = pq.read_table(folder / "refused.parquet")
            packs = tuple(folder / "packs" / name for name in store_metadata(images)["packs"])
            stored = {digest for pack in packs for digest in pack_digests(pack)}
        except (OSError, pa.ArrowException, KeyError):
            return False
        facts = ImageFacts.from_table(images)
        if not set(facts.hex_digests()) <= stored:
            return False
        for stray in set((folder / "packs").iterdir()).difference(packs):
            stray.unlink()  # left by a run that was killed while writing
        self.packs = packs
        self._parts = [facts]
        self._number_of_stored = {digest.tobytes(): number for number, digest in enumerate(facts.image_sha256)}
        known = zip(sources["source_sha256"].to_pylist(), sources["image_sha256"].to_pylist(), strict=True)
        numbers = self._number_of_stored
        self._number = {source: numbers[stored] for source, stored in known if stored in numbers}
        self._refused = {row.pop("source_sha256"): Refusal(**row) for row in refused.to_pylist()}
        if (path := folder / "duplicates.parquet").is_file():
            duplicates = pq.read_table(path)
            self._pairs = np.stack([duplicates["i"].to_numpy(), duplicates["j"].to_numpy()], 1)
            self._pairs_settings = store_metadata(duplicates)
        return True

    def _settings(self, config: DuplicateConfig, num_images: int) -> dict[str, object]:
        return asdict(config) | {"num_images": num_images}

    def _flush(self) -> None:
        if self._new:
            self._parts.append(ImageFacts.from_images(self._new))
            self._new = []


def _key(config: ImageConfig) -> str:
    modules = (fclip.catalog.images, fclip.catalog.jpegs, fclip.catalog.fingerprints)
    code = {module.__name__: sha256_file(Path(module.__file__)) for module in modules if module.__file__}
    decoders = [PIL.__version__, simplejpeg.__version__, cv2.__version__]
    return sha256_json({"config": asdict(config), "code": code, "decoders": decoders})


def write_store_table(path: Path, table: pa.Table, metadata: Mapping[str, object]) -> None:
    """Write a table of the store with metadata."""
    table = table.replace_schema_metadata({"fclip": json.dumps(metadata, sort_keys=True)})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="lz4", use_dictionary=False)


def store_metadata(table: pa.Table) -> dict[str, Any]:
    """Return the metadata of a table of the store."""
    values: dict[str, Any] = json.loads((table.schema.metadata or {}).get(b"fclip", b"{}"))
    return values

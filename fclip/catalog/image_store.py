"""Every image that was ever taken in, so that the next ingest decodes only what is new.

    FOLDER/<key>/images.parquet      facts of each stored image, by number
    FOLDER/<key>/sources.parquet     source digest -> digest of the stored image
    FOLDER/<key>/refused.parquet     source digest -> why the image was refused
    FOLDER/<key>/duplicates.parquet  pairs of near-duplicates among the images' distinct looks
    FOLDER/<key>/packs/              the image packs, as they were first written

The key is of all that a stored image depends on besides its source: configuration, code and decoder. The folder may
be deleted at any time: the next ingest then decodes everything and writes new packs, of which the same catalog comes.
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
from fclip.catalog.duplicates import distinct_looks, near_duplicates
from fclip.catalog.image_facts import ImageFacts
from fclip.catalog.images import NormalImage
from fclip.catalog.rows import Refusal
from fclip.files import atomic_path, link_or_copy, sha256_file, sha256_json
from fclip.images.packs import pack_digests

BATCH = 512
NO_PAIRS = np.empty((0, 2), np.int64)


class ImageStore:
    """Images by the SHA-256 of their source bytes; numbered from 0, those of earlier runs first.

    Opening reads what earlier runs left: nothing, where `folder` is None or empty. `add` takes new ones; `save` keeps
    all for the next run.
    """

    def __init__(self, folder: Path | None, config: ImageConfig) -> None:
        self._folder = None if folder is None else folder / _key(config)
        self._number: dict[bytes, int] = {}
        self._number_of_stored: dict[bytes, int] = {}
        self._refused: dict[bytes, Refusal] = {}
        self._parts: list[ImageFacts] = []
        self._new: list[NormalImage] = []
        self._pairs = NO_PAIRS
        self._pairs_of: Mapping[str, object] = {}
        self.packs: tuple[Path, ...] = ()
        if self._folder is not None and self._folder.exists() and not self._open(self._folder):
            shutil.rmtree(self._folder)  # damaged, or a part of it was deleted
        self.num_known = len(self._number_of_stored)

    def find(self, source: bytes) -> int | Refusal | None:
        """The number of the image with this source digest, why it was refused, or None: not seen before."""
        number = self._number.get(source)
        return self._refused.get(source) if number is None else number

    def add(self, source: bytes, image: NormalImage | Refusal) -> int | Refusal:
        """Take a new image, or its refusal, under its source digest; returns its number, or the refusal.

        Sources of which the same bytes are stored (one file with other metadata) are one image, by one number.
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
        """The facts of all images, by number."""
        self._flush()
        if len(self._parts) != 1:
            self._parts = [ImageFacts.joined(self._parts)]
        return self._parts[0]

    def near_duplicates(self, config: DuplicateConfig) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which distinct look each image has [n], and the pairs [m, 2] of near-duplicate looks.

        Pairs of images of earlier runs are remembered; only those with a new one are sought.
        """
        facts = self.facts()
        looks, look_of = distinct_looks(facts.phash, facts.thumbnail)
        if self._pairs_of != (settings := self._settings(config, self.num_known)):
            self._pairs, first_new = NO_PAIRS, 0
        else:
            first_new = int(look_of[: self.num_known].max(initial=-1)) + 1
        self._pairs = np.concatenate([self._pairs, near_duplicates(looks, config, first_new=first_new)])
        self._pairs_of = settings | {"num_images": len(facts)}
        return look_of, self._pairs

    def save(self, packs: Sequence[Path]) -> None:
        """Keep everything for the next run, with `packs` (all of this run's, old and new).

        What `images.parquet`, written last, speaks of is what counts: a run that is killed here leaves no half.
        """
        if self._folder is None:
            return
        kept = self._folder / "packs"
        kept.mkdir(parents=True, exist_ok=True)
        for pack in packs:
            if not (kept / pack.name).exists():
                link_or_copy(pack, kept / pack.name)
        refused = {"source_sha256": pa.array(self._refused, pa.binary(32))}
        for name in ("stage", "reason", "detail"):
            refused[name] = pa.array([getattr(refusal, name) for refusal in self._refused.values()], pa.string())
        write_kept(self._folder / "refused.parquet", pa.table(refused), {})
        pairs = pa.table({"i": self._pairs[:, 0], "j": self._pairs[:, 1]})
        write_kept(self._folder / "duplicates.parquet", pairs, self._pairs_of)
        images = self.facts().to_table()
        stored = images["image_sha256"].take(pa.array(self._number.values(), pa.int64()))
        sources = pa.table({"source_sha256": pa.array(self._number, pa.binary(32)), "image_sha256": stored})
        write_kept(self._folder / "sources.parquet", sources, {})
        write_kept(self._folder / "images.parquet", images, {"packs": sorted(pack.name for pack in packs)})
        for other in self._folder.parent.iterdir():
            if other.is_dir() and other != self._folder:
                shutil.rmtree(other)

    def _open(self, folder: Path) -> bool:
        """Read what was kept; False when it is not whole."""
        try:
            images = pq.read_table(folder / "images.parquet")
            sources = pq.read_table(folder / "sources.parquet")
            refused = pq.read_table(folder / "refused.parquet")
            packs = tuple(folder / "packs" / name for name in kept_metadata(images)["packs"])
            stored = {digest for pack in packs for digest in pack_digests(pack)}
        except (OSError, pa.ArrowException, KeyError):
            return False
        facts = ImageFacts.from_table(images)
        if not set(facts.hex_digests()) <= stored:
            return False
        for stray in set((folder / "packs").iterdir()).difference(packs):
            stray.unlink()  # of a run that was killed while it wrote
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
            self._pairs_of = kept_metadata(duplicates)
        return True

    def _settings(self, config: DuplicateConfig, num_images: int) -> dict[str, object]:
        return asdict(config) | {"num_images": num_images}

    def _flush(self) -> None:
        if self._new:
            self._parts.append(ImageFacts.of(self._new))
            self._new = []


def _key(config: ImageConfig) -> str:
    modules = (fclip.catalog.images, fclip.catalog.jpegs, fclip.catalog.fingerprints)
    code = {module.__name__: sha256_file(Path(module.__file__)) for module in modules if module.__file__}
    decoders = [PIL.__version__, simplejpeg.__version__, cv2.__version__]
    return sha256_json({"config": asdict(config), "code": code, "decoders": decoders})


def write_kept(path: Path, table: pa.Table, metadata: Mapping[str, object]) -> None:
    """Write a table of the store, with what is to be known of it besides."""
    table = table.replace_schema_metadata({"fclip": json.dumps(metadata, sort_keys=True)})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="lz4", use_dictionary=False)


def kept_metadata(table: pa.Table) -> dict[str, Any]:
    """What was written of a table besides."""
    values: dict[str, Any] = json.loads((table.schema.metadata or {}).get(b"fclip", b"{}"))
    return values

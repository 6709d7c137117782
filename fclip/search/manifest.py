"""The manifest of an index: what it was built from, how it searches, and the digests of its files.

An index is a folder that is written once:

    manifest.json      this manifest
    vectors.npy        float32 [images, d], L2-normalised; the images of a product are neighbours
    products.npy       int32 [images], the product number of each image
    catalog.sqlite     products, attributes and words (`fclip.search.catalog`)
    lancedb/           the same products and vectors as a table of LanceDB, if it was installed
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fclip.errors import UserError
from fclip.files import read_json, sha256_file, sha256_json, write_json

FORMAT = 1
MANIFEST, VECTORS, PRODUCTS, CATALOG, LANCEDB = (
    "manifest.json",
    "vectors.npy",
    "products.npy",
    "catalog.sqlite",
    "lancedb",
)


@dataclass(frozen=True)
class Sources:
    """What an index was built from.

    Attributes:
        model_sha256: digest of the model folder, with its weights.
        preprocessing_sha256: digest of the model's config: architecture, preprocessing of images, tokenizer.
        template_sha256: digest of the caption templates and of the kind of caption that is the title.
        catalog_sha256: digest of the products, without those that were taken down.
        settings_sha256: digest of the settings of the index, and of the version of LanceDB.
    """

    model_sha256: str
    preprocessing_sha256: str
    template_sha256: str
    catalog_sha256: str
    settings_sha256: str

    @property
    def index_name(self) -> str:
        """The name of the index's folder: the same sources always have the same one."""
        other = sha256_json([FORMAT, self.preprocessing_sha256, self.template_sha256, self.settings_sha256])
        return f"{self.model_sha256[:16]}-{self.catalog_sha256[:16]}-{other[:8]}"


@dataclass(frozen=True)
class Approximation:
    """An approximate index. `recall`: share of the 10 nearest images found, measured when it was built."""

    num_probes: int
    recall: float


@dataclass(frozen=True)
class IndexManifest:
    """What is known of an index without opening it.

    Attributes:
        num_images: number of vectors. dim: their length.
        num_taken_down: products that were left out because they had been taken down.
        approximation: None if search is exact. reason: why search is exact or approximate, in a sentence.
        columns: column of the LanceDB table by attribute.
        lancedb: version of LanceDB that wrote the table; "" if there is none.
        files: name -> size in bytes and SHA-256.
        num_bytes: size of all files. build_seconds: duration of the build.
    """

    sources: Sources
    num_products: int
    num_images: int
    num_taken_down: int
    dim: int
    approximation: Approximation | None
    reason: str
    columns: Mapping[str, str]
    lancedb: str
    files: Mapping[str, tuple[int, str]]
    num_bytes: int
    build_seconds: float


def write_manifest(manifest: IndexManifest, folder: Path) -> None:
    """Write manifest.json to an index folder."""
    write_json(folder / MANIFEST, {"format": FORMAT, **asdict(manifest)})


def read_manifest(folder: Path) -> IndexManifest:
    """Read manifest.json of an index folder.

    Raises:
        UserError: the folder or the file does not exist, or is not of this format.
    """
    path = folder / MANIFEST
    try:
        values = read_json(path)
    except FileNotFoundError:
        raise UserError(f"{folder} is not a search index: it has no {MANIFEST}; {REMEDY}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); {REMEDY}") from error
    if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
        raise UserError(f"{path} is not of format {FORMAT}; {REMEDY}")
    try:
        return _parse(values)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not a valid manifest ({error}); {REMEDY}") from error


REMEDY = "go back with `fclip index --rollback`, or run `fclip publish`"


def file_records(folder: Path) -> dict[str, tuple[int, str]]:
    """Return size and digest of all files of an index folder, by their relative names."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): (path.stat().st_size, sha256_file(path)) for path in files}


def verify_files(folder: Path, manifest: IndexManifest) -> None:
    """Raise UserError if a file is missing, or was changed since the index was built.

    A file is hashed only if it is newer than the manifest, which is written last.
    """
    written = (folder / MANIFEST).stat().st_mtime_ns
    for name, (size, sha256) in manifest.files.items():
        path = folder / name
        try:
            status = path.stat()
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}); {REMEDY}") from error
        is_newer = status.st_mtime_ns > written
        if status.st_size != size or (is_newer and sha256_file(path) != sha256):
            raise UserError(f"{path} is damaged: it is not the file that was built; {REMEDY}")


def read_intact(folder: Path) -> IndexManifest | None:
    """Return the manifest of an index if all its files have their digests; None if it is missing or damaged."""
    try:
        manifest = read_manifest(folder)
        found = file_records(folder)
    except (UserError, OSError):
        return None
    found.pop(MANIFEST, None)
    return manifest if found == manifest.files else None


def _parse(values: dict[str, Any]) -> IndexManifest:
    sources, approximation = Sources(**values.pop("sources")), values.pop("approximation")
    files = {name: (int(size), str(sha256)) for name, (size, sha256) in values.pop("files").items()}
    return IndexManifest(
        sources=sources,
        approximation=Approximation(**approximation) if approximation else None,
        files=files,
        **values,
    )

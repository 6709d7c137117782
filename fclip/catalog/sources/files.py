"""Files of a source: there or not, what a folder lists, and which image a cell names."""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fclip.catalog.file_digests import FileDigests
from fclip.catalog.rows import Refusal
from fclip.errors import UserError
from fclip.files import sha256_file


def require_file(path: Path) -> Path:
    """`path`, or UserError when no file has the name."""
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise UserError(f"{path} {what}: put the file there, or mend its `path` in params.yaml")
    return path


def require_folder(path: Path) -> Path:
    """`path`, or UserError when no folder has the name."""
    if not path.is_dir():
        what = "is a file, not a folder" if path.exists() else "does not exist"
        raise UserError(f"{path} {what}: put the folder there, or mend its path in params.yaml")
    return path


def describe_file(path: Path) -> dict[str, object]:
    """Name, size and content digest of a file."""
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256_file(path)}


def describe_folder(folder: Path, digests: FileDigests) -> dict[str, object]:
    """Number, size and digest (of names and contents; no times) of the files in a folder.

    Links that lead out of the folder are left out, as is what is no file; only files that changed are read.
    """
    folder = folder.resolve()
    paths = sorted(_files(folder))
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda path: _size_and_digest(path, digests), paths))
    listing = hashlib.sha256()
    for path, (_, digest) in zip(paths, found, strict=True):
        listing.update(os.fsencode(path.relative_to(folder)) + b"\0" + digest)
    return {
        "num_files": len(paths),
        "bytes": sum(size for size, _ in found),
        "content_sha256": listing.hexdigest(),
    }


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent) / name
            try:
                inside = not path.is_symlink() or path.resolve().is_relative_to(folder)
                if inside and path.is_file():
                    yield path
            except OSError:  # a loop of links
                continue


def _size_and_digest(path: Path, digests: FileDigests) -> tuple[int, bytes]:
    try:
        return path.stat().st_size, digests.digest(path)
    except OSError:  # not ours to read, or gone: a row that names it is refused
        return 0, b""


def image_file(folder: Path, name: str) -> Path | Refusal:
    """The file in `folder` (given resolved) that a cell names, or why there is none; never a file outside."""
    if name.startswith(("http://", "https://")):
        return Refusal("read", "image is a URL", f"{name}: set image_folder to null where cells are URLs")
    if "\0" in name or Path(name).is_absolute():
        return Refusal("read", "image outside the folder", name)
    path = folder / name
    try:
        if not path.resolve().is_relative_to(folder):
            return Refusal("read", "image outside the folder", name)
        if not path.is_file():
            return Refusal("read", "image file missing", f"{name} is not in {folder.name}/")
    except OSError as error:  # a name too long, a loop of links
        return Refusal("read", "image file missing", f"{name}: {error.strerror}")
    return path

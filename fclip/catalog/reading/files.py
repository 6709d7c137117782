"""Local files of a source: check that they exist, describe them for the pin, and find the image of a cell.

A path in params.yaml may be a link to any place. Files that the source itself names are read only from inside it.
"""

import hashlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fclip.catalog.rows import Refusal
from fclip.errors import UserError
from fclip.files import sha256_file
from fclip.mirror.addresses import is_remote, matches
from fclip.mirror.file_digests import FileDigests

FILES_AT_ONCE = 256
MAX_FILE_BYTES = 256 * 2**20  # of an image; larger files are refused without reading
WAITING_THREADS = 16
MAX_NAME_CHARS = 4096  # of a path; no system allows more


def require_file(path: Path) -> Path:
    """Return `path`. Raise UserError if it is not a file."""
    if not path.is_file():
        fault = "is a folder, not a file" if path.is_dir() else "is not a file" if path.exists() else "does not exist"
        raise UserError(f"{path} {fault}; add the file or correct its path")
    return path


def require_folder(path: Path) -> Path:
    """Return `path`. Raise UserError if it is not a folder."""
    if not path.is_dir():
        fault = "is a file, not a folder" if path.exists() else "does not exist"
        raise UserError(f"{path} {fault}; add the folder or correct its path in params.yaml")
    return path


def describe_file(path: Path) -> dict[str, object]:
    """Return the name, size and content digest of a file."""
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256_file(path)}


def pinned_num_rows(pin: Mapping[str, object], table: Mapping[str, object] | None = None) -> int | None:
    """Return the number of rows of a table from its pin, which saves parsing the table; None if it is unknown.

    Args:
        pin: the facts of the source's pin; may be empty.
        table: the table's current facts (`describe_file`). If they differ from the pin, the number is unknown.
    """
    num_rows = pin.get("num_rows")
    same = table is None or pin.get("table") == table
    return num_rows if same and isinstance(num_rows, int) else None


def describe_folder(folder: Path, digests: FileDigests) -> dict[str, object]:
    """Return the number, total size and digest of the files in a folder. The digest covers names and contents.

    Links that lead out of the folder and entries that are not files are ignored. Only changed files are read.
    """
    folder = folder.resolve()
    begin = len(os.fspath(folder)) + 1
    files = sorted(
        (entry.path[begin:], entry)
        for entry in entries_below(folder)
        if (is_inside(entry, folder) and Path(entry).is_file() if entry.is_symlink() else entry.is_file())
    )
    listing = hashlib.sha256()
    num_bytes = 0
    facts = _sizes_and_digests([entry for _, entry in files], digests)
    for (name, _), (size, digest) in zip(files, facts, strict=True):
        listing.update(os.fsencode(name) + b"\0" + digest)
        num_bytes += size
    return {"num_files": len(files), "bytes": num_bytes, "content_sha256": listing.hexdigest()}


def entries_below(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield all entries below a folder except folders. Links are not followed."""
    folders = [os.fspath(folder)]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        yield entry
        except OSError:  # not readable, or deleted meanwhile
            continue


def is_inside(path: os.PathLike[str], *folders: Path) -> bool:
    """Whether a path, with its links resolved, is in one of `folders` (already resolved)."""
    real = Path(os.path.realpath(path))
    return any(real.is_relative_to(folder) for folder in folders)


def _sizes_and_digests(files: Sequence[os.DirEntry[str]], digests: FileDigests) -> Iterator[tuple[int, bytes]]:
    """Yield the size and digest of each file. Threads are used only if the first files show that the disk is slow."""
    parts = [files[first : first + FILES_AT_ONCE] for first in range(0, len(files), FILES_AT_ONCE)]
    began, busy = time.perf_counter(), time.thread_time()
    for part in parts[:1]:
        yield from [_size_and_digest(entry, digests) for entry in part]
    waits = time.perf_counter() - began > 2 * (time.thread_time() - busy)
    with ThreadPoolExecutor(WAITING_THREADS if waits else 1) as pool:
        for facts in pool.map(lambda part: [_size_and_digest(entry, digests) for entry in part], parts[1:]):
            yield from facts


def _size_and_digest(entry: os.DirEntry[str], digests: FileDigests) -> tuple[int, bytes]:
    try:
        stat = entry.stat()
        # Larger files are refused without reading.
        return stat.st_size, b"" if stat.st_size > MAX_FILE_BYTES else digests.digest(entry.path, stat)
    except OSError:  # not readable, or deleted meanwhile: a row that names it is refused
        return 0, b""


class ImageFolder:
    """The folder whose files cells name. It is listed once, since checking each file takes longer than reading it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        begin = len(os.fspath(self._folder)) + 1
        self._names = {
            entry.path[begin:] for entry in entries_below(self._folder) if entry.is_file(follow_symlinks=False)
        }

    def __call__(self, name: str) -> Path | Refusal:
        """Return the file that a cell names, or why there is none. A file outside the folder is refused."""
        return self._folder / name if name in self._names else image_file(self._folder, name)


def image_file(folder: Path, name: str) -> Path | Refusal:
    """Return the file in `folder` (already resolved) that a cell names, or why there is none.

    A file outside the folder is refused.
    """
    if is_remote(name):
        return Refusal("read", "image is a URL", f"{name}: set image_folder to null if cells are URLs")
    if len(name) > MAX_NAME_CHARS:
        return Refusal("read", "image file missing", f"{name[:100]}…: {len(name)} characters, too long for a file name")
    if "\0" in name or Path(name).is_absolute():
        return Refusal("read", "image outside the folder", name)
    path = folder / name
    try:
        if not is_inside(path, folder):
            return Refusal("read", "image outside the folder", name)
        if not path.is_file():
            where = f"is in {folder.name}/, but is not a file" if os.path.lexists(path) else f"is not in {folder.name}/"
            return Refusal("read", "image file missing", f"{name} {where}")
    except OSError as error:  # a name that is too long, or a folder that is not readable
        return Refusal("read", "image file missing", f"{name}: {error.strerror}")
    except UnicodeEncodeError:
        return Refusal("read", "image file missing", f"{name} has lone surrogates, which file names cannot have")
    return path


def parquet_files(path: Path, patterns: Sequence[str]) -> list[Path]:
    """Return `path` if it is a file; else the sorted files below it whose relative paths match a pattern.

    Links are followed within the folder, and within the hub's cache, whose snapshots are links to its blobs.

    Raises:
        UserError: there is no such file, or a file is a link that leads out of the folder.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path} does not exist; add the Parquet files or correct its `path` in params.yaml")
    files = sorted(
        Path(entry)
        for entry in entries_below(path)
        if not entry.name.startswith(".") and matches(os.path.relpath(entry, path), patterns) and Path(entry).is_file()
    )
    folder = path.resolve()
    allowed = (folder, folder.parents[1] / "blobs") if folder.parent.name == "snapshots" else (folder,)
    for file in files:
        if not is_inside(file, *allowed):
            raise UserError(f"{file} is a link that leads out of {path}; replace it by the file")
    if not files:
        wanted = " or ".join(patterns)
        raise UserError(f"{path} has no file {wanted}; add the files or correct its `path` in params.yaml")
    return files

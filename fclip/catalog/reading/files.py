"""Files of a source: there or not, what a folder lists, and which image a cell names.

What params.yaml names is the source, links followed. What a source itself names or holds is read only where it lies
inside it.
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
from fclip.mirror.addresses import fits, is_remote
from fclip.mirror.file_digests import FileDigests

FILES_AT_ONCE = 256
MAX_FILE_BYTES = 256 * 2**20  # of an image; larger files are refused unread
WAITING_THREADS = 16
MAX_NAME_CHARS = 4096  # of a path, on any system that there is


def require_file(path: Path) -> Path:
    """`path`, or UserError when no file has the name."""
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "is no file" if path.exists() else "does not exist"
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


def pinned_rows(pin: Mapping[str, object], table: Mapping[str, object] | None = None) -> int | None:
    """The number of rows that a pin holds of a table, which need not be parsed to count them again.

    Args:
        pin: what the source was when it was pinned; empty where that is not known.
        table: what the table is now (`describe_file`). One that is not byte for byte the pinned one has no such number.
    """
    num_rows = pin.get("num_rows")
    same = table is None or pin.get("table") == table
    return num_rows if same and isinstance(num_rows, int) else None


def describe_folder(folder: Path, digests: FileDigests) -> dict[str, object]:
    """Number, size and digest (of names and contents; no times) of the files in a folder.

    Links that lead out of the folder are left out, as is what is no file; only files that changed are read.
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
    found = _sizes_and_digests([entry for _, entry in files], digests)
    for (name, _), (size, digest) in zip(files, found, strict=True):
        listing.update(os.fsencode(name) + b"\0" + digest)
        num_bytes += size
    return {"num_files": len(files), "bytes": num_bytes, "content_sha256": listing.hexdigest()}


def entries_below(folder: Path) -> Iterator[os.DirEntry[str]]:
    """What lies in a folder and the folders in it, but these themselves; links are not followed."""
    folders = [os.fspath(folder)]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        yield entry
        except OSError:  # not ours to list, or gone
            continue


def is_inside(path: os.PathLike[str], *folders: Path) -> bool:
    """Whether a path, its links followed, lies in one of `folders` (given resolved)."""
    real = Path(os.path.realpath(path))
    return any(real.is_relative_to(folder) for folder in folders)


def _sizes_and_digests(files: Sequence[os.DirEntry[str]], digests: FileDigests) -> Iterator[tuple[int, bytes]]:
    """Size and digest of each file; many at a time where the disk makes one wait, as threads cost more than they save
    where it does not."""
    parts = [files[first : first + FILES_AT_ONCE] for first in range(0, len(files), FILES_AT_ONCE)]
    began, busy = time.perf_counter(), time.thread_time()
    for part in parts[:1]:
        yield from [_size_and_digest(entry, digests) for entry in part]
    waits = time.perf_counter() - began > 2 * (time.thread_time() - busy)
    with ThreadPoolExecutor(WAITING_THREADS if waits else 1) as pool:
        for found in pool.map(lambda part: [_size_and_digest(entry, digests) for entry in part], parts[1:]):
            yield from found


def _size_and_digest(entry: os.DirEntry[str], digests: FileDigests) -> tuple[int, bytes]:
    try:
        stat = entry.stat()
        # Larger ones are refused unread.
        return stat.st_size, b"" if stat.st_size > MAX_FILE_BYTES else digests.digest(entry.path, stat)
    except OSError:  # not ours to read, or gone: a row that names it is refused
        return 0, b""


class ImageFolder:
    """The folder in which cells name files: listed once, since to look for each file takes longer than to read it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        begin = len(os.fspath(self._folder)) + 1
        self._names = {
            entry.path[begin:] for entry in entries_below(self._folder) if entry.is_file(follow_symlinks=False)
        }

    def __call__(self, name: str) -> Path | Refusal:
        """The file that a cell names, or why there is none; never a file outside."""
        return self._folder / name if name in self._names else image_file(self._folder, name)


def image_file(folder: Path, name: str) -> Path | Refusal:
    """The file in `folder` (given resolved) that a cell names, or why there is none; never a file outside."""
    if is_remote(name):
        return Refusal("read", "image is a URL", f"{name}: set image_folder to null where cells are URLs")
    if len(name) > MAX_NAME_CHARS:
        return Refusal("read", "image file missing", f"{name[:100]}…: {len(name)} characters, which no name has")
    if "\0" in name or Path(name).is_absolute():
        return Refusal("read", "image outside the folder", name)
    path = folder / name
    try:
        if not is_inside(path, folder):
            return Refusal("read", "image outside the folder", name)
        if not path.is_file():
            where = f"is in {folder.name}/, but is no file" if os.path.lexists(path) else f"is not in {folder.name}/"
            return Refusal("read", "image file missing", f"{name} {where}")
    except OSError as error:  # a name too long, a folder that is not ours to look into
        return Refusal("read", "image file missing", f"{name}: {error.strerror}")
    except UnicodeEncodeError:
        return Refusal("read", "image file missing", f"{name} has lone surrogates, which no name has")
    return path


def parquet_files(path: Path, patterns: Sequence[str]) -> list[Path]:
    """The file `path`, or every file under the folder whose path below it fits a pattern, sorted.

    Links are followed within the folder, and within the hub's cache, whose snapshots are links to its blobs.

    Raises:
        UserError: there is none, or one is a link that leads out.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path} does not exist: put the Parquet files there, or mend its `path` in params.yaml")
    files = sorted(
        Path(entry)
        for entry in entries_below(path)
        if not entry.name.startswith(".") and fits(os.path.relpath(entry, path), patterns) and Path(entry).is_file()
    )
    folder = path.resolve()
    homes = (folder, folder.parents[1] / "blobs") if folder.parent.name == "snapshots" else (folder,)
    for file in files:
        if not is_inside(file, *homes):
            raise UserError(f"{file} is a link that leads out of {path}: put the file itself there")
    if not files:
        wanted = " or ".join(patterns)
        raise UserError(f"{path} holds no file {wanted}: put them there, or mend its `path` in params.yaml")
    return files

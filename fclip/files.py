"""Atomic writing of files, digests of their content, and signatures that tell whether a file has changed."""

import errno
import hashlib
import io
import json
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

SMALL_FILE_BYTES = 2**20
SECONDS_TO_SETTLE = 2.0
INT64 = 2**63 - 1
Signature: TypeAlias = tuple[int, int, int, int, int]
"""Size, mtime_ns, ctime_ns, inode and device of a file. Equal signatures of a settled file mean equal content."""


def digest_bytes(content: bytes) -> bytes:
    """SHA-256 of `content`, 32 bytes."""
    return hashlib.sha256(content).digest()


def sha256_bytes(content: bytes) -> str:
    """Hex SHA-256 of `content`."""
    return hashlib.sha256(content).hexdigest()


def open_regular(path: Path) -> io.BufferedReader:
    """Open a file for reading bytes; raises OSError if it is not a regular file. Does not block on a FIFO."""
    descriptor, _ = _open_regular(path)
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Return the first `max_bytes` of a regular file. Allocates no more memory than the size of the file."""
    descriptor, num_bytes = _open_regular(path)
    try:
        remaining = min(num_bytes, max_bytes)
        parts = []
        while remaining and (part := os.read(descriptor, remaining)):
            parts.append(part)
            remaining -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
    finally:
        os.close(descriptor)


def _open_regular(path: Path) -> tuple[int, int]:
    """Return a descriptor of a regular file, and its size in bytes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode):
        return descriptor, status.st_size
    os.close(descriptor)
    code = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
    raise OSError(code, os.strerror(code) if code == errno.EISDIR else "Not a regular file", os.fspath(path))


def digest_file(path: Path) -> bytes:
    """SHA-256 of a regular file's bytes, 32 bytes; raises OSError."""
    content = read_regular(
        path, SMALL_FILE_BYTES
    )  # file_digest's buffer is slower for small files, such as most images
    if len(content) < SMALL_FILE_BYTES:
        return digest_bytes(content)
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").digest()


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a regular file's bytes; raises OSError."""
    return digest_file(path).hex()


def sha256_json(value: Any) -> str:
    """Hex SHA-256 of a JSON value, independent of the order of its keys."""
    return sha256_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def sha256_tree(folder: Path) -> str:
    """Hex SHA-256 of the relative names and digests of all files in a folder. Times and modes are ignored."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return sha256_json([[path.relative_to(folder).as_posix(), sha256_file(path)] for path in files])


def sha256_code(folders: Iterable[Path]) -> str:
    """Hex SHA-256 of the relative names and digests of all files in folders of source code, without compiled files."""
    files = [
        (path.relative_to(folder.parent).as_posix(), sha256_file(path))
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    ]
    return sha256_json(sorted(files))


def signature_of(status: os.stat_result) -> Signature | None:
    """Return the signature of a file with this status; None while the file is not settled.

    A file that changed within the last seconds is not settled, because two changes within one clock tick have the same
    times. Neither is a file from the future: the clock was set back, and a time may occur twice.
    """
    if time.time() - max(status.st_mtime, status.st_ctime) <= SECONDS_TO_SETTLE:
        return None
    # Some inodes and devices need all 64 bits, which Parquet's signed integers do not have.
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino & INT64, status.st_dev & INT64


def signatures(paths: Iterable[Path]) -> list[tuple[str, Signature]] | None:
    """Return (path, signature) of each file, in order of path; None if a file is missing or not settled."""
    found = []
    for path in sorted(paths):
        try:
            signature = signature_of(path.stat())
        except OSError:
            return None
        if signature is None:
            return None
        found.append((str(path), signature))
    return found


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, with the same suffix. On success, sync it to disk and rename it to `path`.

    On an error, the temporary file is deleted and `path` is not changed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        _sync(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`. On success, sync it and rename it to `path`, replacing any folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    try:
        yield temporary
        for file in temporary.rglob("*"):
            _sync(file)
        temporary.chmod(0o755)
        if path.exists():
            old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-old-"))
            path.rename(old / "old")
            temporary.rename(path)
            shutil.rmtree(old)
        else:
            temporary.rename(path)
        _sync(path.parent)
    finally:
        if temporary.exists():
            shutil.rmtree(temporary)


def atomic_write(path: Path, content: bytes | str) -> None:
    """Write `content` to `path` atomically. Text is encoded as UTF-8, lone surrogates as backslash escapes."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Hard-link `source` to `target`, or copy it if that fails. Only for files that are never modified in place."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON with sorted keys, so that equal values give equal bytes; raises ValueError for NaN."""
    atomic_write(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Return the JSON value in `path`."""
    return json.loads(path.read_text(encoding="utf-8"))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_occupied(path: Path) -> bool:
    """Whether `path` is a file or a folder that is not empty, so that no new folder can be written there."""
    return path.exists() and (not path.is_dir() or any(path.iterdir()))

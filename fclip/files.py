"""Files that appear whole or not at all, and digests of what they hold."""

import errno
import hashlib
import io
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SMALL_FILE_BYTES = 2**20


def digest_bytes(content: bytes) -> bytes:
    """SHA-256 of `content`, 32 bytes."""
    return hashlib.sha256(content).digest()


def sha256_bytes(content: bytes) -> str:
    """Hex SHA-256 of `content`."""
    return hashlib.sha256(content).hexdigest()


def open_regular(path: Path) -> io.BufferedReader:
    """Open a file to read its bytes; raises OSError for what is no regular file, and never waits, as on a FIFO."""
    descriptor, _ = _open_regular(path)
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, max_bytes: int) -> bytes:
    """The first `max_bytes` of a file that is opened as by `open_regular`; reserves no more than the file's size."""
    descriptor, num_bytes = _open_regular(path)
    try:
        left = min(num_bytes, max_bytes)
        parts = []
        while left and (part := os.read(descriptor, left)):
            parts.append(part)
            left -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
    finally:
        os.close(descriptor)


def _open_regular(path: Path) -> tuple[int, int]:
    """A descriptor of a regular file, and its size in bytes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode):
        return descriptor, status.st_size
    os.close(descriptor)
    code = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
    raise OSError(code, os.strerror(code) if code == errno.EISDIR else "Not a regular file", os.fspath(path))


def digest_file(path: Path) -> bytes:
    """SHA-256 of a regular file's bytes, 32 bytes; raises OSError."""
    content = read_regular(path, SMALL_FILE_BYTES)  # most are images, for which file_digest's buffer takes longer
    if len(content) < SMALL_FILE_BYTES:
        return digest_bytes(content)
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").digest()


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a regular file's bytes; raises OSError."""
    return digest_file(path).hex()


def sha256_json(value: Any) -> str:
    """Hex SHA-256 of a JSON value, whatever the order of its keys."""
    return sha256_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def sha256_tree(folder: Path) -> str:
    """Hex SHA-256 of a folder: of its files' relative names and digests, whatever their times and modes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return sha256_json([[path.relative_to(folder).as_posix(), sha256_file(path)] for path in files])


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` (same suffix); on success it is flushed to disk and takes the name.

    On an error the temporary file goes and whatever `path` held stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        _flush(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
        _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it takes the name, in place of a folder that has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    try:
        yield temporary
        for file in temporary.rglob("*"):
            _flush(file)
        temporary.chmod(0o755)
        if path.exists():
            old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-old-"))
            path.rename(old / "old")
            temporary.rename(path)
            shutil.rmtree(old)
        else:
            temporary.rename(path)
        _flush(path.parent)
    finally:
        if temporary.exists():
            shutil.rmtree(temporary)


def atomic_write(path: Path, content: bytes | str) -> None:
    """Write `content` (text as UTF-8, a lone surrogate as a backslash escape) to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """`source` under a second name, or copied where links are not possible. For files that nobody changes in place."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON with sorted keys, so that equal values are equal bytes. NaN is refused."""
    atomic_write(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON value in `path`."""
    return json.loads(path.read_text(encoding="utf-8"))


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def holds_something(path: Path) -> bool:
    """Whether there is a file, or a folder that is not empty, where a new folder is to be."""
    return path.exists() and (not path.is_dir() or any(path.iterdir()))

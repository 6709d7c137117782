"""The store of the mirror: objects named by the digest of their bytes, and an index from addresses to objects."""

import hashlib
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from fclip.errors import UserError

Status = Literal["stored", "missing", "refused", "too large", "failed"]
LEFTOVER_S = 24 * 3600  # an older incoming file was left by a killed process
SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    address TEXT PRIMARY KEY, status TEXT NOT NULL, sha256 TEXT NOT NULL, num_bytes INTEGER NOT NULL,
    etag TEXT NOT NULL, last_modified TEXT NOT NULL, location TEXT NOT NULL, detail TEXT NOT NULL
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class MirrorEntry:
    """The last response of an address: an object, or why there is none.

    `etag` and `last_modified` are the validators of the stored object. `location` is the URL after redirects.
    """

    status: Status
    sha256: str = ""
    num_bytes: int = 0
    etag: str = ""
    last_modified: str = ""
    location: str = ""
    detail: str = ""


@dataclass(frozen=True)
class FetchResult:
    """The result of one request. Outcome `kept`: the request failed, and the earlier entry stays valid."""

    address: str
    outcome: Literal["unchanged", "fetched", "missing", "refused", "too large", "failed", "kept"]
    detail: str = ""
    num_bytes: int = 0  # fetched


class IncomingObject:
    """An object that is being written to the store and hashed at the same time."""

    def __init__(self, file: BinaryIO, path: Path, objects: Path) -> None:
        self._file = file
        self._path = path
        self._objects = objects
        self._digest = hashlib.sha256()
        self.num_bytes = 0

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._digest.update(chunk)
        self.num_bytes += len(chunk)

    def keep(self) -> str:
        """Flush the object to disk, move it to its name in the store, and return its hex SHA-256."""
        self._file.flush()
        os.fsync(self._file.fileno())
        sha256 = self._digest.hexdigest()
        target = _object(self._objects, sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._path.replace(target)
        return sha256


class MirrorStore:
    """A folder of objects and its index. Each call returns after its change is on disk. Any file may be deleted.

    Raises:
        UserError: the index is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._objects = folder / "objects"
        self._incoming = folder / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)
        for path in self._incoming.iterdir():
            if path.stat().st_mtime < time.time() - LEFTOVER_S:
                path.unlink(missing_ok=True)
        path = folder / "index-1.sqlite"
        try:
            # The fetching thread and the progress thread share the connection; they use it in turn.
            self._index = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
            self._index.execute("PRAGMA journal_mode = WAL")
            self._index.execute("PRAGMA synchronous = NORMAL")
            self._index.execute(SCHEMA)
        except sqlite3.DatabaseError as error:
            raise UserError(f"{path} is damaged ({error}); delete {folder}, and its files are fetched again") from error

    def get(self, address: str) -> MirrorEntry | None:
        """Return the entry of an address. Return None if it was never requested or its object is missing."""
        row = self._index.execute("SELECT * FROM entries WHERE address = ?", (address,)).fetchone()
        if row is None:
            return None
        entry = MirrorEntry(*row[1:])
        return None if entry.status == "stored" and not self._has(entry) else entry

    def put(self, address: str, entry: MirrorEntry) -> None:
        """Store the entry of an address."""
        self._index.execute("INSERT OR REPLACE INTO entries VALUES (?,?,?,?,?,?,?,?)", (address, *astuple(entry)))

    def drop(self, sha256s: Iterable[str]) -> int:
        """Delete objects and the entries of their addresses. Return the number of deleted objects."""
        num_dropped = 0
        for sha256 in sha256s:
            path = _object(self._objects, sha256)
            num_dropped += path.exists()
            path.unlink(missing_ok=True)
            self._index.execute("DELETE FROM entries WHERE sha256 = ?", (sha256,))
        return num_dropped

    def path(self, entry: MirrorEntry) -> Path:
        """Return the path of the object of a stored entry."""
        return _object(self._objects, entry.sha256)

    @contextmanager
    def incoming(self) -> Iterator[IncomingObject]:
        """Open a new object for writing. It is deleted at the end unless `keep` was called."""
        descriptor, name = tempfile.mkstemp(dir=self._incoming)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, 0o644)
                yield IncomingObject(file, Path(name), self._objects)
        finally:
            Path(name).unlink(missing_ok=True)

    def _has(self, entry: MirrorEntry) -> bool:
        try:
            return self.path(entry).stat().st_size == entry.num_bytes
        except OSError:
            return False


def record_result(store: MirrorStore, address: str, before: MirrorEntry | None, now: MirrorEntry) -> FetchResult:
    """Store the new entry of an address and return the result. A failure replaces only an earlier failure."""
    if now.status == "failed" and before is not None and before.status != "failed":
        return FetchResult(address, "kept", now.detail)
    if now is before:
        return FetchResult(address, "unchanged")
    store.put(address, now)
    return FetchResult(address, "fetched" if now.status == "stored" else now.status, now.detail, now.num_bytes)


def _object(objects: Path, sha256: str) -> Path:
    return objects / sha256[:2] / sha256

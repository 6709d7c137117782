"""What has been fetched: objects by the digest of their bytes, and an index from addresses to them."""

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
LEFTOVER_S = 24 * 3600  # what is on its way for longer was left by a process that was killed
SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    address TEXT PRIMARY KEY, status TEXT NOT NULL, sha256 TEXT NOT NULL, num_bytes INTEGER NOT NULL,
    etag TEXT NOT NULL, last_modified TEXT NOT NULL, location TEXT NOT NULL, detail TEXT NOT NULL
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class Entry:
    """What an address gave when it was last asked: an object, or why there is none.

    `etag` and `last_modified` are the validators of what was stored, `location` is where redirects ended.
    """

    status: Status
    sha256: str = ""
    num_bytes: int = 0
    etag: str = ""
    last_modified: str = ""
    location: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Look:
    """One address looked at. `kept`: it could not be asked, and what it gave before still stands."""

    address: str
    outcome: Literal["unchanged", "fetched", "missing", "refused", "too large", "failed", "kept"]
    detail: str = ""
    num_bytes: int = 0  # fetched


class Incoming:
    """Bytes on their way into the store, hashed as they come."""

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
        """Flush the bytes to disk and give them their name in the store; returns their hex SHA-256."""
        self._file.flush()
        os.fsync(self._file.fileno())
        sha256 = self._digest.hexdigest()
        target = _object(self._objects, sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._path.replace(target)
        return sha256


class Store:
    """A folder of objects and its index. Every change is on disk when the call returns; any of it may be deleted.

    Raises UserError when the index is damaged.
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
            # The thread that fetches and the one that shows progress take turns.
            self._index = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
            self._index.execute("PRAGMA journal_mode = WAL")
            self._index.execute("PRAGMA synchronous = NORMAL")
            self._index.execute(SCHEMA)
        except sqlite3.DatabaseError as error:
            raise UserError(f"{path} is damaged ({error}): delete {folder}, it is fetched again") from error

    def get(self, address: str) -> Entry | None:
        """The entry of an address; None for one never asked, or whose object is gone."""
        row = self._index.execute("SELECT * FROM entries WHERE address = ?", (address,)).fetchone()
        if row is None:
            return None
        entry = Entry(*row[1:])
        return None if entry.status == "stored" and not self._has(entry) else entry

    def put(self, address: str, entry: Entry) -> None:
        """Remember what an address gave."""
        self._index.execute("INSERT OR REPLACE INTO entries VALUES (?,?,?,?,?,?,?,?)", (address, *astuple(entry)))

    def drop(self, sha256s: Iterable[str]) -> int:
        """Delete objects, and forget the addresses that gave them; returns how many objects there were."""
        num_dropped = 0
        for sha256 in sha256s:
            path = _object(self._objects, sha256)
            num_dropped += path.exists()
            path.unlink(missing_ok=True)
            self._index.execute("DELETE FROM entries WHERE sha256 = ?", (sha256,))
        return num_dropped

    def path(self, entry: Entry) -> Path:
        """Where the object of a stored entry lies."""
        return _object(self._objects, entry.sha256)

    @contextmanager
    def incoming(self) -> Iterator[Incoming]:
        """Take bytes in; without a call of `keep` they are gone at the end."""
        descriptor, name = tempfile.mkstemp(dir=self._incoming)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, 0o644)
                yield Incoming(file, Path(name), self._objects)
        finally:
            Path(name).unlink(missing_ok=True)

    def _has(self, entry: Entry) -> bool:
        try:
            return self.path(entry).stat().st_size == entry.num_bytes
        except OSError:
            return False


def settle(store: Store, address: str, before: Entry | None, now: Entry) -> Look:
    """Remember what an address gave; a failure replaces nothing but a failure."""
    if now.status == "failed" and before is not None and before.status != "failed":
        return Look(address, "kept", now.detail)
    if now is before:
        return Look(address, "unchanged")
    store.put(address, now)
    return Look(address, "fetched" if now.status == "stored" else now.status, now.detail, now.num_bytes)


def _object(objects: Path, sha256: str) -> Path:
    return objects / sha256[:2] / sha256

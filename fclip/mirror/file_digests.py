"""SHA-256 digests of files, cached by signature, as git's index does it."""

import os
from pathlib import Path

from fclip.files import Signature, atomic_path, digest_file, signature_of

COLUMNS = ("size", "mtime_ns", "ctime_ns", "inode", "device")


class FileDigests:
    """Digests by path, kept in the Parquet file `path` between runs (None: not kept). Safe to share between threads."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: dict[str, tuple[Signature, bytes]] = {}
        self._used: dict[str, tuple[Signature, bytes]] = {}
        if path is not None and path.is_file():
            import pyarrow as pa
            import pyarrow.parquet as pq

            try:
                table = pq.read_table(path)
                signatures = zip(*(table[name].to_pylist() for name in COLUMNS), strict=True)
                names = [name.decode("utf-8", "surrogateescape") for name in table["name"].to_pylist()]
                digests = table["sha256"].to_pylist()
                self._known = dict(zip(names, zip(signatures, digests, strict=True), strict=True))
            except (OSError, KeyError, pa.ArrowException):  # a damaged cache counts as empty
                self._known = {}

    def find(self, path: Path) -> bytes | None:
        """Return the cached digest of an unchanged file. Return None for a changed, unknown or missing file.

        A file is checked for changes once per run.
        """
        name = os.fspath(path)
        if name not in self._used:
            known = self._known.get(name)
            try:
                if known is None or signature_of(path.stat()) != known[0]:
                    return None
            except OSError:
                return None
            self._used[name] = known
        return self._used[name][1]

    def digest(self, path: str | Path, stat: os.stat_result | None = None) -> bytes:
        """Return the digest of a file. The file is read only if it changed since its last digest.

        Args:
            stat: the file's status, if the caller has it.

        Raises:
            OSError: the file cannot be read.
        """
        name = os.fspath(path)
        stat = stat or Path(name).stat()
        known = self._used.get(name) or self._known.get(name)
        if known is None or known[0] != signature_of(stat):
            digest = digest_file(Path(name))
            self.put(name, stat, digest)
            return digest
        self._used[name] = known
        return known[1]

    def put(self, path: str | Path, before: os.stat_result, sha256: bytes) -> None:
        """Store the digest of a file whose status was `before` when reading began."""
        if signature := signature_of(before):
            self._used[os.fspath(path)] = (signature, sha256)
        else:
            self._used.pop(os.fspath(path), None)

    def save(self) -> None:
        """Write the digests that this run used or added. All others are dropped."""
        if self._path is None or self._used == self._known:
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = sorted(self._used)
        columns = {"name": pa.array([name.encode("utf-8", "surrogateescape") for name in names])}
        for index, column in enumerate(COLUMNS):
            columns[column] = pa.array([self._used[name][0][index] for name in names], pa.int64())
        columns["sha256"] = pa.array([self._used[name][1] for name in names], pa.binary(32))
        with atomic_path(self._path) as temporary:
            pq.write_table(pa.table(columns), temporary, compression="lz4", use_dictionary=False)

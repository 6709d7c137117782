"""What lies outside the workspace: files and images by path or address, mirrored where they are remote."""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fclip.errors import UserError
from fclip.files import atomic_dir, atomic_path, link_or_copy, sha256_bytes, sha256_json
from fclip.mirror.addresses import WEB, address_fault, file_name, is_remote, scheme_of
from fclip.mirror.config import DownloadConfig
from fclip.mirror.file_digests import FileDigests
from fclip.mirror.store import Entry, Look, Store
from fclip.progress import progress

logger = logging.getLogger(__name__)
KEPT_SHOWN = 5
REASONS = {  # few, since they are counted
    "missing": "image URL not found",
    "refused": "image URL refused",
    "too large": "image too large",
    "failed": "image download failed",
}
BUCKET_REASONS = {**REASONS, "missing": "image file missing", "refused": "image file unreadable"}


@dataclass(frozen=True)
class SourceAccess:
    """Where sources lie. Paths are relative to `root`; what is remote is mirrored in the folder `mirror`.

    refresh: True asks whether what was mirrored changed, conditionally (the effect `resolve`); False takes the mirror
        as it is and fetches only what it lacks (the stage `ingest`, which then compares it with the pin).
    limit: rows of a source at most whose images are looked at; None for all.
    digests: of files in folders, so that a file that did not change is not read again.
    pinned: what the source was when it was pinned, where it is compared with that (the stage `ingest`): what follows
        from the bytes of a file is not found out again while they are the same.
    """

    root: Path
    mirror: Path
    download: DownloadConfig = field(default_factory=DownloadConfig)
    refresh: bool = True
    limit: int | None = None
    digests: FileDigests = field(default_factory=lambda: FileDigests(None))
    pinned: Mapping[str, object] = field(default_factory=dict)

    def file(self, address: str) -> Path:
        """The file at a path or address, on this machine, by its name; whether there is one at a path is not checked.

        Raises:
            UserError: a remote file is not there, may not be asked for, or cannot be reached and was never mirrored.
        """
        if not is_remote(address):
            return self.root / address
        if fault := address_fault(address):
            raise UserError(f"{address!r:.200} is not fetched: {fault}; mend it in params.yaml")
        store = Store(self.mirror)
        if self.refresh or store.get(address) is None:
            _report("file", self._ask([address], store, images=False), total=1)
        entry = store.get(address)
        assert entry is not None
        if entry.status != "stored":
            said = f" ({entry.detail})" if entry.detail else ""
            remedy = "try again later" if entry.status == "failed" else "mend it in params.yaml, or who may read it"
            raise UserError(f"{address} cannot be fetched: {entry.status}{said}: {remedy}")
        link = self.mirror / "files" / sha256_bytes(address.encode())[:16] / (file_name(address) or "file")
        if not link.exists() or not link.samefile(store.path(entry)):
            with atomic_path(link) as temporary:
                temporary.unlink()
                link_or_copy(store.path(entry), temporary)
        return link

    def folder(self, address: str, *, patterns: Sequence[str]) -> Path:
        """The folder at a path; of a remote one, its files whose paths fit a pattern; the file, at a file's address.

        Raises:
            UserError: as `file`; a remote folder holds no such file, or cannot be listed.
        """
        if not is_remote(address):
            return self.root / address
        known = not self.refresh and Store(self.mirror).get(address) is not None
        if scheme_of(address) in WEB or known:
            return self.file(address)
        folder = self.mirror / "folders" / sha256_json([address, list(patterns)])[:16]
        if not self.refresh and folder.is_dir():
            return folder
        from fclip.mirror.bucket import list_bucket

        names = list_bucket(address, patterns, self.download)
        if names == [""]:
            return self.file(address)
        if not names:
            wanted = " or ".join(patterns)
            raise UserError(f"{address} holds no file {wanted}: put them there, or mend its `path` in params.yaml")
        with atomic_dir(folder) as temporary:
            for name in names:
                (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(self.file(f"{address.rstrip('/')}/{name}"), temporary / name)
        return folder

    def images(self, addresses: Iterable[str]) -> "MirroredImages":
        """Each image at its address: the file that mirrors it, or why there is none. One address is asked once."""
        store = Store(self.mirror)
        images = MirroredImages(store, tuple(dict.fromkeys(addresses)))
        todo = [
            address
            for address in images
            if address_fault(address) is None and (self.refresh or store.get(address) is None)
        ]
        if todo:
            _report("images", self._ask(todo, store, images=True), total=len(todo))
        return images

    def _ask(self, addresses: list[str], store: Store, *, images: bool) -> Iterator[Look]:
        web = [address for address in addresses if scheme_of(address) in WEB]
        if web:
            from fclip.mirror.http import a_file, an_image  # the HTTP client takes its time to import
            from fclip.mirror.web import ask_web

            yield from ask_web(web, store, self.download, an_image(self.download) if images else a_file(self.download))
        buckets = [address for address in addresses if scheme_of(address) not in WEB]
        if buckets:
            from fclip.mirror.bucket import ask_bucket

            max_bytes = self.download.max_bytes if images else None
            yield from ask_bucket(buckets, store, self.download, max_bytes=max_bytes)


@dataclass(frozen=True)
class Unavailable:
    """Why there is no image at an address: `reason` is one of `REASONS` or `BUCKET_REASONS`."""

    reason: str
    detail: str


class MirroredImages(Mapping[str, Path | Unavailable]):
    """Images by address, looked up in the mirror when asked for: a catalog's worth of them fills no memory."""

    def __init__(self, store: Store, addresses: tuple[str, ...]) -> None:
        self._store = store
        self._addresses = addresses

    def __len__(self) -> int:
        return len(self._addresses)

    def __iter__(self) -> Iterator[str]:
        return iter(self._addresses)

    def __getitem__(self, address: str) -> Path | Unavailable:
        entry = self._entry(address)
        if entry.status == "stored":
            return self._store.path(entry)
        reasons = REASONS if scheme_of(address) in WEB else BUCKET_REASONS
        return Unavailable(reasons[entry.status], f"{address:.500}: {entry.detail}" if entry.detail else address)

    def describe(self) -> dict[str, object]:
        """What a pin holds of them: their number, how many are no image, and a digest of every address and content."""
        listing = hashlib.sha256()
        refused = num_bytes = 0
        for address in sorted(self._addresses):
            entry = self._entry(address)
            refused += entry.status != "stored"
            num_bytes += entry.num_bytes
            line = f"{address}\0{entry.sha256 or entry.status}\n"
            listing.update(line.encode("utf-8", "surrogatepass"))
        return {
            "num_images": len(self),
            "num_refused": refused,
            "bytes": num_bytes,
            "listing_sha256": listing.hexdigest(),
        }

    def _entry(self, address: str) -> Entry:
        if fault := address_fault(address):
            return Entry("refused", detail=fault)
        entry = self._store.get(address)
        if entry is None:
            raise KeyError(address)
        return entry


def _report(what: str, looks: Iterator[Look], *, total: int) -> None:
    """Look at everything, showing progress, and log what came of it."""
    outcomes: Counter[str] = Counter()
    num_bytes = 0
    kept: list[Look] = []
    for look in progress(looks, label=f"mirror {what}", total=total, unit=what):
        outcomes[look.outcome] += 1
        num_bytes += look.num_bytes
        if look.outcome == "kept" and len(kept) < KEPT_SHOWN:
            kept.append(look)
    counted = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    logger.info("mirror: %s: %s; %.1f MB read", what, counted, num_bytes / 1e6)
    if kept:
        logger.warning("mirror: %d could not be asked for now: what they gave before is kept", outcomes["kept"])
        for look in kept:
            logger.warning("  %s: %s", look.address, look.detail)

"""Access to source files and images by path or address. Remote ones are mirrored."""

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
from fclip.mirror.store import FetchResult, MirrorEntry, MirrorStore
from fclip.progress import progress

logger = logging.getLogger(__name__)
MAX_KEPT_LOGGED = 5
REASONS = {  # a small fixed set, since reasons are counted
    "missing": "image URL not found",
    "refused": "image URL refused",
    "too large": "image too large",
    "failed": "image download failed",
}
BUCKET_REASONS = {**REASONS, "missing": "image file missing", "refused": "image file unreadable"}


@dataclass(frozen=True)
class SourceAccess:
    """How the files of sources are reached.

    Attributes:
        root: the folder to which local paths are relative.
        mirror: the folder in which remote files are mirrored.
        refresh: True requests mirrored files conditionally to find changes (the effect `resolve`). False fetches only
            files that the mirror lacks (the stage `ingest`, which then compares them with the pin).
        limit: number of rows of a source whose images are fetched; None for all.
        digests: digests of local files, so that an unchanged file is not read again.
        pinned: the facts of the source's pin, if the source is compared with it (the stage `ingest`). Facts that
            follow from a file's bytes are not computed again while the bytes are the same.
    """

    root: Path
    mirror: Path
    download: DownloadConfig = field(default_factory=DownloadConfig)
    refresh: bool = True
    limit: int | None = None
    digests: FileDigests = field(default_factory=lambda: FileDigests(None))
    pinned: Mapping[str, object] = field(default_factory=dict)

    def file(self, address: str) -> Path:
        """Return the local path of the file at a path or address. It keeps the file's name.

        A local path is not checked.

        Raises:
            UserError: a remote file does not exist, must not be requested, or was never mirrored and cannot be fetched.
        """
        if not is_remote(address):
            return self.root / address
        if fault := address_fault(address):
            raise UserError(f"{address!r:.200} is not fetched: {fault}; correct the address in params.yaml")
        store = MirrorStore(self.mirror)
        if self.refresh or store.get(address) is None:
            _log_results("file", self._fetch([address], store, images=False), total=1)
        entry = store.get(address)
        assert entry is not None
        if entry.status != "stored":
            detail = f" ({entry.detail})" if entry.detail else ""
            remedy = (
                "try again later"
                if entry.status == "failed"
                else "correct the address in params.yaml or grant read access"
            )
            raise UserError(f"{address} cannot be fetched: {entry.status}{detail}; {remedy}")
        link = self.mirror / "files" / sha256_bytes(address.encode())[:16] / (file_name(address) or "file")
        if not link.exists() or not link.samefile(store.path(entry)):
            with atomic_path(link) as temporary:
                temporary.unlink()
                link_or_copy(store.path(entry), temporary)
        return link

    def folder(self, address: str, *, patterns: Sequence[str]) -> Path:
        """Return the local path of the folder at a path or address; of a file, if it is a file's address.

        From a remote folder only the files whose paths match a pattern are mirrored.

        Raises:
            UserError: as for `file`; or a remote folder has no matching file or cannot be listed.
        """
        if not is_remote(address):
            return self.root / address
        known = not self.refresh and MirrorStore(self.mirror).get(address) is not None
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
            raise UserError(f"{address} has no file {wanted}; add the files or correct `path` in params.yaml")
        with atomic_dir(folder) as temporary:
            for name in names:
                (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(self.file(f"{address.rstrip('/')}/{name}"), temporary / name)
        return folder

    def images(self, addresses: Iterable[str]) -> "MirroredImages":
        """Mirror the images at these addresses, each once. Return the mirrored file of each, or why there is none."""
        store = MirrorStore(self.mirror)
        images = MirroredImages(store, tuple(dict.fromkeys(addresses)))
        to_fetch = [
            address
            for address in images
            if address_fault(address) is None and (self.refresh or store.get(address) is None)
        ]
        if to_fetch:
            _log_results("images", self._fetch(to_fetch, store, images=True), total=len(to_fetch))
        return images

    def _fetch(self, addresses: list[str], store: MirrorStore, *, images: bool) -> Iterator[FetchResult]:
        web = [address for address in addresses if scheme_of(address) in WEB]
        if web:
            from fclip.mirror.http import file_limits, image_limits  # importing the HTTP client is slow
            from fclip.mirror.web import fetch_web

            yield from fetch_web(
                web, store, self.download, image_limits(self.download) if images else file_limits(self.download)
            )
        buckets = [address for address in addresses if scheme_of(address) not in WEB]
        if buckets:
            from fclip.mirror.bucket import fetch_bucket

            max_bytes = self.download.max_bytes if images else None
            yield from fetch_bucket(buckets, store, self.download, max_bytes=max_bytes)


@dataclass(frozen=True)
class UnavailableImage:
    """Why an address has no image. `reason` is a value of `REASONS` or `BUCKET_REASONS`."""

    reason: str
    detail: str


class MirroredImages(Mapping[str, Path | UnavailableImage]):
    """Images by address. Each is looked up in the mirror on access, so that a large catalog needs little memory."""

    def __init__(self, store: MirrorStore, addresses: tuple[str, ...]) -> None:
        self._store = store
        self._addresses = addresses

    def __len__(self) -> int:
        return len(self._addresses)

    def __iter__(self) -> Iterator[str]:
        return iter(self._addresses)

    def __getitem__(self, address: str) -> Path | UnavailableImage:
        entry = self._entry(address)
        if entry.status == "stored":
            return self._store.path(entry)
        reasons = REASONS if scheme_of(address) in WEB else BUCKET_REASONS
        return UnavailableImage(reasons[entry.status], f"{address:.500}: {entry.detail}" if entry.detail else address)

    def describe(self) -> dict[str, object]:
        """Return the facts for the pin: counts of images, refused images and bytes, and a digest of the listing."""
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

    def _entry(self, address: str) -> MirrorEntry:
        if fault := address_fault(address):
            return MirrorEntry("refused", detail=fault)
        entry = self._store.get(address)
        if entry is None:
            raise KeyError(address)
        return entry


def _log_results(kind: str, results: Iterator[FetchResult], *, total: int) -> None:
    """Consume `results` with a progress bar and log the counts by outcome."""
    outcomes: Counter[str] = Counter()
    num_bytes = 0
    kept: list[FetchResult] = []
    for result in progress(results, label="Mirroring", total=total, unit=kind):
        outcomes[result.outcome] += 1
        num_bytes += result.num_bytes
        if result.outcome == "kept" and len(kept) < MAX_KEPT_LOGGED:
            kept.append(result)
    counted = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    logger.info("mirror: %s: %s; %.1f MB read", kind, counted, num_bytes / 1e6)
    if kept:
        logger.warning("mirror: %d could not be requested; their earlier content is kept", outcomes["kept"])
        for result in kept:
            logger.warning("  %s: %s", result.address, result.detail)

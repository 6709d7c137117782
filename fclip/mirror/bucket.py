"""Files in object stores, by fsspec: listed once, fetched where the listing says that they changed."""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import PurePosixPath
from typing import Any

from fclip.errors import UserError
from fclip.files import sha256_json
from fclip.mirror.addresses import BUCKETS, fits, scheme_of
from fclip.mirror.config import DownloadConfig
from fclip.mirror.retry import backoff
from fclip.mirror.store import Entry, Look, Store, settle

CHUNK_BYTES = 2**20
# What tells one content of a file from another, by the names that file systems give it; the first that is there.
DIGESTS = ("ETag", "etag", "md5Hash", "content_md5", "crc32c")
TIMES = ("LastModified", "last_modified", "mtime", "updated", "created")


def ask_bucket(
    addresses: Sequence[str], store: Store, config: DownloadConfig, *, max_bytes: int | None
) -> Iterator[Look]:
    """Look at files of one folder, fetch those whose size or validator changed, and yield what came of each.

    Raises:
        UserError: the extra that brings the file system is not installed.
    """
    try:
        system, paths, listing = _listed(addresses, config)
    except (UserError, KeyboardInterrupt):
        raise
    except Exception as error:  # file systems raise what the libraries under them do
        for address in addresses:
            yield settle(store, address, store.get(address), Entry("failed", detail=_said(error)))
        return

    changed: dict[str, Entry | None] = {}
    for address, path in zip(addresses, paths, strict=True):
        before, info = store.get(address), listing.get(path)
        if info is None:
            yield settle(store, address, before, Entry("missing"))
        elif max_bytes is not None and info["size"] > max_bytes:
            detail = f"{info['size']} bytes, {max_bytes} at most (ingest.download.max_bytes)"
            yield settle(store, address, before, Entry("too large", detail=detail))
        elif before is not None and before.etag == _validator(info):
            yield settle(store, address, before, before)
        else:
            changed[address] = before
    path_of = dict(zip(addresses, paths, strict=True))
    with ThreadPoolExecutor(config.connections) as pool:
        fetching = {
            pool.submit(_fetch, system, path_of[address], listing[path_of[address]], store, config): address
            for address in changed
        }
        try:
            for future in as_completed(fetching):
                address = fetching[future]
                yield settle(store, address, changed[address], future.result())
        finally:
            pool.shutdown(cancel_futures=True)


def list_bucket(folder: str, patterns: Sequence[str], config: DownloadConfig) -> list[str]:
    """Paths of the files below a remote folder that fit a pattern, sorted; [""] where it is a file itself."""
    system, path = _open(folder)
    try:
        found = _again(lambda: system.find(path), config)
    except Exception as error:
        raise UserError(f"{folder} cannot be listed ({_said(error)}): mend its `path`, or who may read it") from error
    names = sorted(name[len(path) :].strip("/") for name in found)
    return [name for name in names if not name or fits(name, patterns)]


def _listed(addresses: Sequence[str], config: DownloadConfig) -> tuple[Any, list[str], Mapping[str, Any]]:
    system, _ = _open(addresses[0])
    paths = [system._strip_protocol(address) for address in addresses]
    if len(paths) == 1:
        try:
            return system, paths, {paths[0]: _again(lambda: system.info(paths[0]), config)}
        except FileNotFoundError:
            return system, paths, {}
    parents = [PurePosixPath(path).parent for path in paths]
    folder = min(parents, key=lambda parent: len(parent.parts))
    while not all(parent.is_relative_to(folder) for parent in parents):
        folder = folder.parent
    return system, paths, _again(lambda: system.find(folder.as_posix(), detail=True), config)


def _fetch(system: Any, path: str, info: Mapping[str, Any], store: Store, config: DownloadConfig) -> Entry:
    def once() -> Entry:
        with system.open(path, "rb") as file, store.incoming() as incoming:
            while chunk := file.read(CHUNK_BYTES):
                incoming.write(chunk)
            return Entry("stored", sha256=incoming.keep(), num_bytes=incoming.num_bytes, etag=_validator(info))

    try:
        return _again(once, config)
    except FileNotFoundError:
        return Entry("missing")
    except PermissionError as error:
        return Entry("refused", detail=_said(error))
    except Exception as error:
        return Entry("failed", detail=_said(error))


def _again(function: Any, config: DownloadConfig) -> Any:
    """`function()`, tried again on what may go well next time."""
    for attempt in range(config.retries):
        try:
            return function()
        except (FileNotFoundError, PermissionError, UserError, ImportError):
            raise
        except Exception:
            time.sleep(backoff(attempt))
    return function()


def _open(address: str) -> tuple[Any, str]:
    import fsspec.core

    scheme = scheme_of(address) or ""
    try:
        system, path = fsspec.core.url_to_fs(address)
    except ImportError as error:
        extra = BUCKETS.get(scheme)
        raise UserError(f"{address} needs the extra `{extra}` ({error}): pip install 'fclip[{extra}]'") from error
    system.invalidate_cache()  # a process that lives long would see what it saw the first time
    return system, str(path)


def _validator(info: Mapping[str, Any]) -> str:
    for names in (DIGESTS, TIMES):
        if found := next((str(info[name]) for name in names if info.get(name)), None):
            return sha256_json([info["size"], found])
    return sha256_json([info["size"]])


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:300]

"""Mirror files of object stores through fsspec: list them once and fetch those that the listing shows as changed."""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import PurePosixPath
from typing import Any

from fclip.errors import UserError
from fclip.files import sha256_json
from fclip.mirror.addresses import BUCKETS, matches, scheme_of
from fclip.mirror.config import DownloadConfig
from fclip.mirror.retry import backoff
from fclip.mirror.store import FetchResult, MirrorEntry, MirrorStore, record_result

CHUNK_BYTES = 2**20
# Keys under which file systems report a content digest or a change time; the first key that is present counts.
DIGESTS = ("ETag", "etag", "md5Hash", "content_md5", "crc32c")
TIMES = ("LastModified", "last_modified", "mtime", "updated", "created")


def fetch_bucket(
    addresses: Sequence[str], store: MirrorStore, config: DownloadConfig, *, max_bytes: int | None
) -> Iterator[FetchResult]:
    """Fetch the files of one folder whose size or validator changed, and yield one result per address.

    Raises:
        UserError: the extra that installs the file system is missing.
    """
    try:
        system, paths, listing = _listed(addresses, config)
    except (UserError, KeyboardInterrupt):
        raise
    except Exception as error:  # file systems pass on the exceptions of their libraries
        for address in addresses:
            yield record_result(store, address, store.get(address), MirrorEntry("failed", detail=_error_text(error)))
        return

    changed: dict[str, MirrorEntry | None] = {}
    for address, path in zip(addresses, paths, strict=True):
        before, info = store.get(address), listing.get(path)
        if info is None:
            yield record_result(store, address, before, MirrorEntry("missing"))
        elif max_bytes is not None and info["size"] > max_bytes:
            detail = f"{info['size']} bytes, {max_bytes} at most (ingest.download.max_bytes)"
            yield record_result(store, address, before, MirrorEntry("too large", detail=detail))
        elif before is not None and before.etag == _validator(info):
            yield record_result(store, address, before, before)
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
                yield record_result(store, address, changed[address], future.result())
        finally:
            pool.shutdown(cancel_futures=True)


def list_bucket(folder: str, patterns: Sequence[str], config: DownloadConfig) -> list[str]:
    """Return the sorted paths of the files below a remote folder that match a pattern; [""] if it is itself a file.

    Raises:
        UserError: the folder cannot be listed.
    """
    system, path = _open(folder)
    try:
        files = _retried(lambda: system.find(path), config)
    except Exception as error:
        raise UserError(
            f"{folder} cannot be listed ({_error_text(error)}); correct its `path` or grant read access"
        ) from error
    names = sorted(name[len(path) :].strip("/") for name in files)
    return [name for name in names if not name or matches(name, patterns)]


def _listed(addresses: Sequence[str], config: DownloadConfig) -> tuple[Any, list[str], Mapping[str, Any]]:
    system, _ = _open(addresses[0])
    paths = [system._strip_protocol(address) for address in addresses]
    if len(paths) == 1:
        try:
            return system, paths, {paths[0]: _retried(lambda: system.info(paths[0]), config)}
        except FileNotFoundError:
            return system, paths, {}
    parents = [PurePosixPath(path).parent for path in paths]
    folder = min(parents, key=lambda parent: len(parent.parts))
    while not all(parent.is_relative_to(folder) for parent in parents):
        folder = folder.parent
    return system, paths, _retried(lambda: system.find(folder.as_posix(), detail=True), config)


def _fetch(system: Any, path: str, info: Mapping[str, Any], store: MirrorStore, config: DownloadConfig) -> MirrorEntry:
    def fetch() -> MirrorEntry:
        with system.open(path, "rb") as file, store.incoming() as incoming:
            while chunk := file.read(CHUNK_BYTES):
                incoming.write(chunk)
            return MirrorEntry("stored", sha256=incoming.keep(), num_bytes=incoming.num_bytes, etag=_validator(info))

    try:
        return _retried(fetch, config)
    except FileNotFoundError:
        return MirrorEntry("missing")
    except PermissionError as error:
        return MirrorEntry("refused", detail=_error_text(error))
    except Exception as error:
        return MirrorEntry("failed", detail=_error_text(error))


def _retried(function: Any, config: DownloadConfig) -> Any:
    """Call `function()`, and repeat the call after errors that may be temporary."""
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
    system.invalidate_cache()  # otherwise a long-running process sees its first listing for ever
    return system, str(path)


def _validator(info: Mapping[str, Any]) -> str:
    for names in (DIGESTS, TIMES):
        if value := next((str(info[name]) for name in names if info.get(name)), None):
            return sha256_json([info["size"], value])
    return sha256_json([info["size"]])


def _error_text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:300]

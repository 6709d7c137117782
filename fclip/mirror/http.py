"""Request one URL: conditionally, with a check of every redirect and every IP address."""

import asyncio
import re
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from yarl import URL

from fclip.mirror.addresses import is_public, web_fault
from fclip.mirror.config import DownloadConfig
from fclip.mirror.retry import TransientError, retry_after
from fclip.mirror.store import MirrorEntry, MirrorStore

USER_AGENT = "fclip (catalog mirror)"
IMAGE_TIMEOUTS = 6  # times timeout_s for a whole image, so that a response that trickles also ends
CHUNK_BYTES = 2**16
REDIRECTS = (301, 302, 303, 307, 308)
MISSING = (404, 410)
TRANSIENT = (408, 421, 425, 429)  # and every status from 500
BUSY = (429, 503)
OCTETS = ("application/octet-stream", "binary/octet-stream", "")
_PLAIN = re.compile(r"[!-~]+")


@dataclass(frozen=True)
class ResponseLimits:
    """What the headers of an acceptable response must say."""

    accepts: Callable[[str], bool]  # a content type, in lower case, without parameters
    max_bytes: int | None
    timeout_s: float | None


def image_limits(config: DownloadConfig) -> ResponseLimits:
    """Return the limits for an image: an image type or no declared type, `max_bytes` at most."""
    return ResponseLimits(
        lambda kind: kind.startswith("image/") or kind in OCTETS,
        config.max_bytes,
        IMAGE_TIMEOUTS * config.timeout_s,
    )


def file_limits(config: DownloadConfig) -> ResponseLimits:
    """Return the limits for a file: any type except HTML, which websites send in place of a file."""
    return ResponseLimits(lambda kind: kind != "text/html", None, None)


class PrivateAddressError(OSError):
    """A connection to an address that is not on the public Internet."""

    def __init__(self) -> None:
        super().__init__("leads to a private address; see ingest.download.allow_private")


class HttpClient:
    """Client that requests URLs within the limits of `config`. It belongs to one event loop; `opened` creates it."""

    def __init__(self, session: aiohttp.ClientSession, config: DownloadConfig, store: MirrorStore) -> None:
        self._session = session
        self._config = config
        self._store = store
        self._total = asyncio.Semaphore(config.connections)
        self._hosts: defaultdict[str | None, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(config.per_host)
        )

    @classmethod
    @asynccontextmanager
    async def opened(cls, config: DownloadConfig, store: MirrorStore) -> AsyncIterator["HttpClient"]:
        """A client with a connection pool.

        The IP address is checked when the socket is opened. A host name that resolves to another address after a
        check cannot bypass it.
        """
        connector = aiohttp.TCPConnector(
            limit=0,  # the semaphores set the limit: waiting in the pool would count towards the timeout
            socket_factory=None if config.allow_private else _public_socket,
        )
        async with aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
            auto_decompress=False,  # a small response can be huge once decompressed
            trust_env=config.allow_private,
        ) as session:
            yield cls(session, config, store)

    async def fetch(self, address: str, before: MirrorEntry | None, limits: ResponseLimits) -> MirrorEntry:
        """Request `address` and return its entry; `before` itself if it is unchanged. Then no body is read.

        Raises:
            TransientError: there is no response, or a response that may differ next time.
        """
        if fault := web_fault(address):
            return MirrorEntry("refused", detail=fault)
        try:
            return await self._follow(address, before, limits)
        except (aiohttp.InvalidURL, ValueError) as error:
            return MirrorEntry("refused", detail=f"not an address: {error}"[:200])
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, PrivateAddressError):
                return MirrorEntry("refused", detail=str(error.os_error))
            raise TransientError(str(error)) from error
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise TransientError(str(error) or type(error).__name__) from error

    async def _follow(self, address: str, before: MirrorEntry | None, limits: ResponseLimits) -> MirrorEntry:
        url = _url(address)
        timeout = self._config.timeout_s
        for _ in range(self._config.max_redirects + 1):
            async with (
                self._hosts[url.host],
                self._total,
                self._session.get(
                    url,
                    headers=_conditions(url, before),
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=limits.timeout_s, connect=timeout, sock_read=timeout),
                ) as response,
            ):
                target = response.headers.get("Location")
                if response.status not in REDIRECTS or not target:
                    return await self._entry(response, before, limits)
            url = url.join(_url(target))
            if fault := web_fault(str(url)):
                return MirrorEntry("refused", detail=f"redirected to {str(url)[:200]}: {fault}")
        return MirrorEntry("refused", detail=f"more than {self._config.max_redirects} redirects")

    async def _entry(
        self, response: aiohttp.ClientResponse, before: MirrorEntry | None, limits: ResponseLimits
    ) -> MirrorEntry:
        status = f"{response.status} {response.reason or ''}".strip()
        etag = response.headers.get("ETag", "")
        if before is not None and before.status == "stored":
            same_etag = response.status == 200 and etag and etag == before.etag and _same_location(response.url, before)
            if response.status == 304 or same_etag:
                return before
        if response.status in MISSING:
            return MirrorEntry("missing", detail=status)
        if response.status in TRANSIENT or response.status >= 500:
            wait_s = retry_after(response.headers.get("Retry-After"))
            raise TransientError(status, wait_s, whole_host=response.status in BUSY)
        if response.status != 200:
            return MirrorEntry("refused", detail=status)
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if not limits.accepts(kind):
            return MirrorEntry("refused", detail=f"content type {kind[:100]}")
        if (coding := response.headers.get("Content-Encoding", "identity").lower()) != "identity":
            return MirrorEntry("refused", detail=f"content encoding {coding[:100]}, which was not requested")
        too_large = f"more than {limits.max_bytes} bytes (ingest.download.max_bytes)"
        if limits.max_bytes is not None and (response.content_length or 0) > limits.max_bytes:
            return MirrorEntry("too large", detail=too_large)
        with self._store.incoming() as incoming:
            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                incoming.write(chunk)
                if limits.max_bytes is not None and incoming.num_bytes > limits.max_bytes:
                    return MirrorEntry("too large", detail=too_large)
            sha256 = await asyncio.to_thread(incoming.keep)
        return MirrorEntry(
            "stored",
            sha256=sha256,
            num_bytes=incoming.num_bytes,
            etag=etag,
            last_modified=response.headers.get("Last-Modified", ""),
            location=_location(response.url),
        )


def _conditions(url: URL, before: MirrorEntry | None) -> dict[str, str]:
    """Return the conditional request headers. Only the URL that sent the validators gets them, no other redirect."""
    if before is None or before.status != "stored" or not _same_location(url, before):
        return {}
    conditions = {"If-None-Match": before.etag, "If-Modified-Since": before.last_modified}
    return {name: value for name, value in conditions.items() if value}


def _same_location(url: URL, before: MirrorEntry) -> bool:
    return _location(url) == before.location


def _location(url: URL) -> str:
    """Return a URL without query, fragment and user: signatures in the query differ each time."""
    return str(url.with_query(None).with_fragment(None).with_user(None))


def _url(address: str) -> URL:
    return URL(address, encoded=_PLAIN.fullmatch(address) is not None)  # a quoted URL must keep its signed form


def _public_socket(address: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
    family, kind, protocol, _, socket_address = address
    if not is_public(str(socket_address[0])):
        raise PrivateAddressError
    return socket.socket(family, kind, protocol)

"""One URL asked over HTTP: conditionally, hop by hop, and only where it may lead."""

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
from fclip.mirror.retry import Transient, retry_after
from fclip.mirror.store import Entry, Store

USER_AGENT = "fclip (catalog mirror)"
IMAGE_TIMEOUTS = 6  # of timeout_s, for a whole image: an answer that drips ends, too
CHUNK_BYTES = 2**16
REDIRECTS = (301, 302, 303, 307, 308)
MISSING = (404, 410)
TRANSIENT = (408, 421, 425, 429)  # and all from 500
BUSY = (429, 503)
OCTETS = ("application/octet-stream", "binary/octet-stream", "")
_PLAIN = re.compile(r"[!-~]+")


@dataclass(frozen=True)
class Wanted:
    """What an answer must be, by its head."""

    accepts: Callable[[str], bool]  # a content type, in lower case, without parameters
    max_bytes: int | None
    timeout_s: float | None


def an_image(config: DownloadConfig) -> Wanted:
    """An image, or bytes of no declared kind, of `max_bytes` at most."""
    return Wanted(
        lambda kind: kind.startswith("image/") or kind in OCTETS,
        config.max_bytes,
        IMAGE_TIMEOUTS * config.timeout_s,
    )


def a_file(config: DownloadConfig) -> Wanted:
    """Anything but the page that a website shows in place of a file."""
    return Wanted(lambda kind: kind != "text/html", None, None)


class PrivateAddress(OSError):
    """A connection that would leave the public Internet."""

    def __init__(self) -> None:
        super().__init__("leads to a private address, see ingest.download.allow_private")


class HttpClient:
    """Asks URLs within the bounds of `config`. One event loop's; `opened` makes one."""

    def __init__(self, session: aiohttp.ClientSession, config: DownloadConfig, store: Store) -> None:
        self._session = session
        self._config = config
        self._store = store
        self._all = asyncio.Semaphore(config.connections)
        self._hosts: defaultdict[str | None, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(config.per_host)
        )

    @classmethod
    @asynccontextmanager
    async def opened(cls, config: DownloadConfig, store: Store) -> AsyncIterator["HttpClient"]:
        """A client with a connection pool. What it connects to is what was checked: a name that resolves to another
        address a moment later gains nothing."""
        connector = aiohttp.TCPConnector(
            limit=0,  # the semaphores bound it: waiting for a connection would count as its timeout
            socket_factory=None if config.allow_private else _public_socket,
        )
        async with aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
            auto_decompress=False,  # what is small on the wire and huge in memory
            trust_env=config.allow_private,
        ) as session:
            yield cls(session, config, store)

    async def ask(self, address: str, before: Entry | None, wanted: Wanted) -> Entry:
        """What `address` gives now: `before` itself where it is unchanged, and then no body is read.

        Raises:
            Transient: no answer, or one that may be another next time.
        """
        if fault := web_fault(address):
            return Entry("refused", detail=fault)
        try:
            return await self._follow(address, before, wanted)
        except (aiohttp.InvalidURL, ValueError) as error:
            return Entry("refused", detail=f"no address: {error}"[:200])
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, PrivateAddress):
                return Entry("refused", detail=str(error.os_error))
            raise Transient(str(error)) from error
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise Transient(str(error) or type(error).__name__) from error

    async def _follow(self, address: str, before: Entry | None, wanted: Wanted) -> Entry:
        url = _url(address)
        timeout = self._config.timeout_s
        for _ in range(self._config.max_redirects + 1):
            async with (
                self._hosts[url.host],
                self._all,
                self._session.get(
                    url,
                    headers=_conditions(url, before),
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=wanted.timeout_s, connect=timeout, sock_read=timeout),
                ) as response,
            ):
                target = response.headers.get("Location")
                if response.status not in REDIRECTS or not target:
                    return await self._answer(response, before, wanted)
            url = url.join(_url(target))
            if fault := web_fault(str(url)):
                return Entry("refused", detail=f"redirected to {str(url)[:200]}: {fault}")
        return Entry("refused", detail=f"more than {self._config.max_redirects} redirects")

    async def _answer(self, response: aiohttp.ClientResponse, before: Entry | None, wanted: Wanted) -> Entry:
        said = f"{response.status} {response.reason or ''}".strip()
        etag = response.headers.get("ETag", "")
        if before is not None and before.status == "stored":
            same = response.status == 200 and etag and etag == before.etag and _same_place(response.url, before)
            if response.status == 304 or same:
                return before
        if response.status in MISSING:
            return Entry("missing", detail=said)
        if response.status in TRANSIENT or response.status >= 500:
            wait_s = retry_after(response.headers.get("Retry-After"))
            raise Transient(said, wait_s, of_host=response.status in BUSY)
        if response.status != 200:
            return Entry("refused", detail=said)
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if not wanted.accepts(kind):
            return Entry("refused", detail=f"content type {kind[:100]}")
        if (coding := response.headers.get("Content-Encoding", "identity").lower()) != "identity":
            return Entry("refused", detail=f"content encoding {coding[:100]}, which was not asked for")
        too_large = f"more than {wanted.max_bytes} bytes (ingest.download.max_bytes)"
        if wanted.max_bytes is not None and (response.content_length or 0) > wanted.max_bytes:
            return Entry("too large", detail=too_large)
        with self._store.incoming() as incoming:
            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                incoming.write(chunk)
                if wanted.max_bytes is not None and incoming.num_bytes > wanted.max_bytes:
                    return Entry("too large", detail=too_large)
            sha256 = await asyncio.to_thread(incoming.keep)
        return Entry(
            "stored",
            sha256=sha256,
            num_bytes=incoming.num_bytes,
            etag=etag,
            last_modified=response.headers.get("Last-Modified", ""),
            location=_place(response.url),
        )


def _conditions(url: URL, before: Entry | None) -> dict[str, str]:
    """Request headers that spare an unchanged body; of the place that gave the validators, and of no other hop."""
    if before is None or before.status != "stored" or not _same_place(url, before):
        return {}
    conditions = {"If-None-Match": before.etag, "If-Modified-Since": before.last_modified}
    return {name: value for name, value in conditions.items() if value}


def _same_place(url: URL, before: Entry) -> bool:
    return _place(url) == before.location


def _place(url: URL) -> str:
    """A URL without its query: signatures differ each time."""
    return str(url.with_query(None).with_fragment(None).with_user(None))


def _url(address: str) -> URL:
    return URL(address, encoded=_PLAIN.fullmatch(address) is not None)  # what is quoted already stays as it is signed


def _public_socket(address: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
    family, kind, protocol, _, place = address
    if not is_public(str(place[0])):
        raise PrivateAddress
    return socket.socket(family, kind, protocol)

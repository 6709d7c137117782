"""What every request passes before a route sees it: host, origin, key, size and time."""

import asyncio
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from fclip.serve.errors import Busy, ServiceError, error_body
from fclip.serve.settings import LOOPBACK, Settings

logger = logging.getLogger(__name__)
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]
Observe = Callable[[str, int, float], None]
COOKIE = "fclip_key"
OPEN = ("/healthz", "/readyz")  # for the probes of an orchestrator, which have no key
LOGIN = ("/login", "/style.css")
WILDCARDS = ("0.0.0.0", "::")  # reachable under names that the service cannot know
SAFE = ("GET", "HEAD", "OPTIONS")
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        b"media-src 'self' blob:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
)


class Guard:
    """ASGI middleware: refuses what no route should see, and bounds size and time of a request."""

    def __init__(self, app: Application, settings: Settings, observe: Observe) -> None:
        """Args: observe: is called with the route, the status and the seconds of each request."""
        self._app = app
        self._settings = settings
        self._observe = observe
        self._held_bytes = 0
        names = {*settings.hosts, settings.host, *(LOOPBACK if settings.host in LOOPBACK else ())}
        self._hosts = {name.lower() for name in names}
        self._checks_hosts = bool(settings.hosts) or settings.host not in WILDCARDS

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        reply, began, body = _Reply(send), time.perf_counter(), bytearray()
        try:
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
            self._check(scope, headers)
            async with asyncio.timeout(self._settings.request_seconds):
                await self._read(headers, receive, body)
                await self._app(scope, _received(bytes(body), receive), reply)
        except ServiceError as error:
            await reply.refuse(error, scope)
        except TimeoutError:
            seconds = self._settings.request_seconds
            await reply.refuse(ServiceError(f"the request took more than {seconds:g} s", 408, "timeout_error"), scope)
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            await reply.refuse(ServiceError("the service failed; its log has the reason", 500, "internal_error"), scope)
        finally:
            self._held_bytes -= len(body)
            route = getattr(scope.get("route"), "path", "other")
            self._observe(route, reply.status, time.perf_counter() - began)

    def _check(self, scope: Message, headers: dict[str, str]) -> None:
        """Raise ServiceError for an unknown host, another site's request, or a missing or wrong key."""
        host = _host_name(headers.get("host", ""))
        if self._checks_hosts and host not in self._hosts:
            raise ServiceError(f"the host {host[:80]!r} is unknown; name it with `fclip serve --host-name`", 421)
        origin = headers.get("origin")
        if origin and origin != "null" and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
            raise ServiceError("requests of pages of other sites are refused", 403, "permission_error")
        if origin == "null" and scope["method"] not in SAFE:
            raise ServiceError("requests of pages without an origin are refused", 403, "permission_error")
        if self._settings.keys and scope["path"] not in OPEN and scope["path"] not in LOGIN:
            given = _bearer(headers) or _cookie(headers)
            if not is_key(given, self._settings):
                raise ServiceError(
                    "a key is missing or wrong; send the header `Authorization: Bearer KEY`",
                    401,
                    "authentication_error",
                )

    async def _read(self, headers: dict[str, str], receive: Receive, body: bytearray) -> None:
        """Append the content of a request to `body`; raise ServiceError if it, or all together, are too large."""
        limit = self._settings.max_body_bytes
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > limit:
            raise _too_large(limit)
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ServiceError("the client is gone", 400)
            part = message.get("body", b"")
            body += part
            self._held_bytes += len(part)
            if len(body) > limit:
                raise _too_large(limit)
            if self._held_bytes > self._settings.max_held_bytes:
                raise Busy("too many large requests are being answered; try again in a second")
            if not message.get("more_body"):
                return


class _Reply:
    """Sends a reply with the headers of all replies, and knows whether it has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = message.get("headers", [])
            names = {name for name, _ in given}
            message = {**message, "headers": [*given, *(header for header in HEADERS if header[0] not in names)]}
        await self._send(message)

    async def refuse(self, error: ServiceError, scope: Message) -> None:
        if self.status:
            return
        is_page = error.status == 401 and _wants_page(scope)
        content = b"" if is_page else json.dumps(error_body(error.message, error.kind)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        if is_page:
            headers.append((b"location", b"/login"))
        elif error.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        elif error.status == 503:
            headers.append((b"retry-after", b"1"))
        if error.status in (408, 413):
            headers.append((b"connection", b"close"))
        await self({"type": "http.response.start", "status": 303 if is_page else error.status, "headers": headers})
        await self({"type": "http.response.body", "body": content})


def is_key(given: str, settings: Settings) -> bool:
    """Whether `given` is one of the keys, compared in constant time."""
    matches = [hmac.compare_digest(given.encode(), key.encode()) for key in settings.keys]
    return any(matches)


def _received(body: bytes, receive: Receive) -> Receive:
    is_read = False

    async def read() -> Message:
        nonlocal is_read
        if is_read:
            return await receive()  # the disconnection of the client
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return read


def _too_large(limit: int) -> ServiceError:
    return ServiceError(f"the request has more than {limit // 2**20} MiB", 413)


def _host_name(host: str) -> str:
    """Return the name in a Host header, without the port."""
    name = host.rsplit(":", 1)[0] if host.rsplit(":", 1)[-1].isdigit() and ":" in host else host
    return name.strip("[]").lower()


def _bearer(headers: dict[str, str]) -> str:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def _cookie(headers: dict[str, str]) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def _wants_page(scope: Message) -> bool:
    accepted = next((value for name, value in scope["headers"] if name.lower() == b"accept"), b"")
    return scope["method"] == "GET" and b"text/html" in accepted

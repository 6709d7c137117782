"""A local web server for tests, which records its requests."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Asked:
    """One request: whether it was conditional, the status of the response, and the bytes of its body."""

    path: str
    conditional: bool
    status: int
    num_bytes: int
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Page:
    """A response. `lie` is a wrong Content-Length to send; `endless` sends chunks without a length."""

    body: bytes = b""
    status: int = 200
    content_type: str = "image/jpeg"
    etag: str | None = None
    last_modified: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    lie: int | None = None
    endless: bool = False
    honours_conditions: bool = True


Answer = Page | Callable[[int], Page]  # argument: number of earlier requests for the path


class Web:
    """Pages by path, and the received requests in order."""

    def __init__(self) -> None:
        self.pages: dict[str, Answer] = {}
        self.asked: list[Asked] = []
        self.at_once = 0
        self.most_at_once = 0
        self.times: list[float] = []
        self.port = 0
        self._lock = threading.Lock()
        self._earlier: Counter[str] = Counter()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def forget(self) -> None:
        self.asked.clear()
        self.most_at_once = 0

    @property
    def bodies_read(self) -> int:
        return sum(asked.num_bytes for asked in self.asked if asked.status == 200)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.at_once, self.most_at_once)
            self.times.append(time.monotonic())
            earlier, self._earlier[path] = self._earlier[path], self._earlier[path] + 1
            answer = self.pages.get(path, Page(b"not here", status=404, content_type="text/plain"))
            page = answer if isinstance(answer, Page) else answer(earlier)
        try:
            self._answer(handler, page)
        finally:
            with self._lock:
                self.at_once -= 1

    def _answer(self, handler: BaseHTTPRequestHandler, page: Page) -> None:
        time.sleep(page.seconds)
        given = (handler.headers.get("If-None-Match"), handler.headers.get("If-Modified-Since"))
        unchanged = page.honours_conditions and (
            (page.etag is not None and given[0] == page.etag)
            or (given[0] is None and page.last_modified is not None and given[1] == page.last_modified)
        )
        status = 304 if unchanged else page.status
        handler.send_response(status)
        for name, value in (("ETag", page.etag), ("Last-Modified", page.last_modified), *page.headers.items()):
            if value is not None:
                handler.send_header(name, value)
        body = b"" if unchanged else page.body
        if page.content_type and not unchanged:
            handler.send_header("Content-Type", page.content_type)
        if page.endless:
            handler.send_header("Transfer-Encoding", "chunked")
        elif not unchanged:
            handler.send_header("Content-Length", str(len(body) if page.lie is None else page.lie))
        handler.end_headers()
        sent = len(body)
        if page.endless:
            sent = 0
            with suppress(OSError):
                while sent < 2**30:
                    handler.wfile.write(b"%x\r\n%s\r\n" % (len(body), body))
                    sent += len(body)
        else:
            handler.wfile.write(body)
        if page.lie is not None or page.endless:
            handler.close_connection = True
        with self._lock:
            conditional = any(value is not None for value in given)
            self.asked.append(Asked(handler.path, conditional, status, sent, dict(handler.headers)))


@contextmanager
def serving() -> Iterator[Web]:
    """Run a local web server during the block."""
    web = Web()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # headers and bodies are sent separately; Nagle's algorithm would delay them

        def do_GET(self) -> None:
            with suppress(ConnectionError):
                web.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    web.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

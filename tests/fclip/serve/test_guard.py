"""Hosts, origins, keys and limits."""

import asyncio
import base64
import io
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from PIL import Image
from starlette.testclient import TestClient

from fclip.errors import UserError
from fclip.runtime.model import Model
from fclip.serve.app import create_app
from fclip.serve.server import protocol
from fclip.serve.settings import Settings
from tests.fclip.serve.conftest import Connect, Shop, picture

KEYS = ("first-key-of-sixteen", "second-key-of-sixteen")


def test_other_addresses_than_loopback_need_keys() -> None:
    with pytest.raises(UserError, match=r"open to everybody at 0\.0\.0\.0; set FCLIP_API_KEYS"):
        Settings(host="0.0.0.0")
    with pytest.raises(UserError, match="has 5 characters"):
        Settings(keys=("short",))
    assert Settings(host="0.0.0.0", keys=KEYS).keys == KEYS


def test_every_route_but_probes_asks_for_a_key(connect: Connect) -> None:
    with connect(keys=KEYS) as client:
        for path in ("/healthz", "/readyz"):
            assert client.get(path).status_code == 200
        paths = ("/v1/models", "/metrics", "/openapi.json", "/", "/about", "/page.js", "/pictures/shop/x", "/nothing")
        for path in paths:
            refused = client.get(path)
            assert refused.status_code == 401, path
            assert "Bearer KEY" in refused.json()["error"]["message"]
            assert client.get(path, headers={"authorization": "Bearer wrong-key-of-sixteen"}).status_code == 401
        for key in KEYS:
            assert client.get("/v1/models", headers={"authorization": f"Bearer {key}"}).status_code == 200
        page = client.get("/", headers={"accept": "text/html"})
        assert (page.status_code, page.headers["location"]) == (303, "/login")
        assert client.post("/login", data={"key": "wrong"}).status_code == 401
        entered = client.post("/login", data={"key": KEYS[1]})
        cookie = entered.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert client.get("/", headers={"accept": "text/html"}).status_code == 200  # with the cookie


def test_hosts_and_origins_are_checked(client: TestClient) -> None:
    assert client.get("/healthz", headers={"host": "evil.example"}).status_code == 421
    assert client.get("/healthz", headers={"host": "testserver:8000"}).status_code == 200
    body = {"text": "red"}
    assert client.post("/v1/search", json=body, headers={"origin": "http://evil.example"}).status_code == 403
    assert client.post("/v1/search", json=body, headers={"origin": "null"}).status_code == 403
    assert client.post("/v1/search", json=body, headers={"origin": "http://testserver"}).status_code == 200


def test_replies_have_headers_that_protect_the_page(client: TestClient) -> None:
    for path in ("/", "/v1/models", "/nothing"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 100_000, b'{"text": NaN}', b"", b'{"text": 1e999}'])
def test_broken_json_is_refused(client: TestClient, content: bytes) -> None:
    reply = client.post("/v1/search", content=content, headers={"content-type": "application/json"})
    assert reply.status_code == 400, reply.text
    assert reply.json()["error"]["message"]


def test_wrong_content_types_methods_and_addresses(client: TestClient) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        reply = client.post("/v1/search", content=b'{"text": "red"}', headers={"content-type": kind})
        assert reply.status_code == 415
        assert "send application/json" in reply.json()["error"]["message"]
    assert client.get("/v1/search").status_code == 405
    assert client.get("/v2").status_code == 404


def test_large_bodies_are_refused_with_and_without_a_length(connect: Connect) -> None:
    with connect(max_body_bytes=2**20) as client:
        kind = {"content-type": "application/json"}
        assert client.post("/v1/search", content=b"x" * (2**20 + 1), headers=kind).status_code == 413
        assert client.post("/v1/search", content=iter([b"x" * 2**19] * 3), headers=kind).status_code == 413
        reply = client.post("/v1/search", json={"text": "x" * 2**19})
        assert reply.status_code == 400
        assert "characters" in reply.json()["error"]["message"]


def test_large_bodies_together_are_bounded(shop: Shop) -> None:
    with listening(shop, max_body_bytes=1000, max_held_bytes=1500) as port:
        head = (
            b"POST /v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1000\r\n\r\n"
        )
        first, second = (socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(2))
        first.sendall(head + b"x" * 999)
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
        second.sendall(head + b"x" * 999)
        assert b" 503 " in second.recv(4096)
        first.sendall(b"x")
        assert b" 400 " in first.recv(4096)  # what is held does not block the others once it is answered
        third = socket.create_connection(("127.0.0.1", port), timeout=30)
        third.sendall(head + b"x" * 1000)
        assert b" 400 " in third.recv(4096)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that claims many pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("width", "height"), [(10_000, 10_000), (60_000, 60_000), (2**31 - 1, 1)])
def test_images_with_too_many_pixels_are_refused_before_they_are_decoded(
    client: TestClient, width: int, height: int
) -> None:
    reply = client.post("/v1/search", json={"image": base64.b64encode(bomb(width, height)).decode()})
    assert reply.status_code in (400, 413), reply.text
    assert "pixels" in reply.json()["error"]["message"]


def test_image_with_a_script_in_its_metadata_is_an_image(client: TestClient) -> None:
    buffer = io.BytesIO()
    image = Image.open(io.BytesIO(picture("red")))
    image.save(buffer, "JPEG", comment=b"<script>alert(1)</script>")
    reply = client.post("/v1/search", json={"image": base64.b64encode(buffer.getvalue()).decode()})
    assert reply.status_code == 200


def test_request_that_takes_too_long_ends_with_408(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(*_: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr("fclip.serve.service.Service.search", slow)
    with connect(request_seconds=0.2) as client:
        reply = client.post("/v1/search", json={"text": "red"})
        assert reply.status_code == 408
        assert client.get("/healthz").status_code == 200


def test_too_much_waiting_is_refused_with_503(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    embed = Model.embed_texts

    def slow(model: Model, texts: list[str]) -> object:
        time.sleep(0.3)
        return embed(model, texts)

    monkeypatch.setattr(Model, "embed_texts", slow)
    with connect(max_waiting=4, batch_size=4) as client, ThreadPoolExecutor(8) as pool:
        body = {"input": ["red", "green", "blue"]}
        replies = list(pool.map(lambda _: client.post("/v1/embeddings", json=body), range(8)))
        statuses = {reply.status_code for reply in replies}
        assert statuses == {200, 503}
        refused = next(reply for reply in replies if reply.status_code == 503)
        assert refused.headers["retry-after"] == "1"
        assert client.post("/v1/embeddings", json=body).status_code == 200


@contextmanager
def listening(shop: Shop, **settings: object) -> Iterator[int]:
    """Serve in a thread on a free port, and yield the port."""
    values = Settings(**{"num_threads": 1, **settings})  # type: ignore[arg-type]
    config = uvicorn.Config(
        create_app(shop.root, values),
        port=0,
        http=protocol(values.header_seconds),
        limit_concurrency=values.max_connections,
        log_config=None,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)


def test_slow_headers_and_bodies_end_and_the_service_goes_on(shop: Shop) -> None:
    with listening(shop, header_seconds=1, request_seconds=1) as port:
        slow_header = socket.create_connection(("127.0.0.1", port))
        slow_header.sendall(b"POST /v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        slow_body = socket.create_connection(("127.0.0.1", port))
        slow_body.sendall(
            b"POST /v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: 99\r\n\r\n{"
        )
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
        for connection in (slow_header, slow_body):
            connection.settimeout(30)
        assert slow_header.recv(4096) == b""
        assert b" 408 " in slow_body.recv(4096)


def test_a_thousand_connections_do_not_stop_the_service(shop: Shop) -> None:
    with listening(shop, max_connections=64, header_seconds=1) as port:
        connections = []
        for _ in range(1000):
            try:
                connection = socket.create_connection(("127.0.0.1", port), timeout=10)
                connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n")
                connections.append(connection)
            except OSError:
                continue
        assert len(connections) > 500
        time.sleep(1.5)
        deadline = time.monotonic() + 60
        while True:
            reply = httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=30)
            if reply.status_code == 200:
                break
            assert reply.status_code == 503
            assert time.monotonic() < deadline
        for connection in connections:
            connection.close()

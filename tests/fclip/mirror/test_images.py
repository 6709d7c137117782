"""Images over HTTP: the result of each response, repeated requests, and limits on connections."""

import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fclip.errors import UserError
from fclip.files import sha256_file
from fclip.mirror import http
from fclip.mirror.config import DownloadConfig
from fclip.mirror.http import image_limits
from fclip.mirror.source_access import MirroredImages, SourceAccess, UnavailableImage
from fclip.mirror.store import MirrorStore
from fclip.mirror.web import GIVE_UP_AFTER, fetch_web
from tests.conftest import REPOSITORY
from tests.fclip.catalog.catalog_shop import jpeg
from tests.fclip.mirror.local_web import Page, Web

Access = Callable[..., SourceAccess]


def contents(images: MirroredImages) -> dict[str, bytes | str]:
    """Return the bytes of each address, or the reason of its refusal."""
    return {
        address.rpartition("/")[2]: found.reason if isinstance(found, UnavailableImage) else found.read_bytes()
        for address, found in images.items()
    }


def serve_images(web: Web, count: int, **page: Any) -> list[str]:
    for index in range(count):
        web.pages[f"/{index}.jpg"] = Page(jpeg(index), etag=f'"{index}"', **page)
    return [web.url(f"/{index}.jpg") for index in range(count)]


@pytest.mark.parametrize(
    ("page", "reason", "detail"),
    [
        (Page(status=404), "image URL not found", "404"),
        (Page(status=410), "image URL not found", "410"),
        (Page(status=403), "image URL refused", "403"),
        (Page(status=204), "image URL refused", "204"),
        (Page(b"<html>", content_type="text/html; charset=utf-8"), "image URL refused", "content type text/html"),
        (Page(b"x", headers={"Content-Encoding": "gzip"}), "image URL refused", "content encoding gzip"),
        (Page(status=302, headers={"Location": "/a"}), "image URL refused", "more than 5 redirects"),
        (Page(status=301, headers={"Location": "file:///etc/passwd"}), "image URL refused", "redirected to file:"),
        (Page(status=301, headers={"Location": "http://[::1/"}), "image URL refused", "not an address"),
        (Page(status=304), "image URL refused", "304"),
        (Page(b"x" * 3000), "image too large", "more than 2000 bytes"),
        (Page(b"x" * 1000, endless=True), "image too large", "more than 2000 bytes"),
        (Page(status=500), "image download failed", "500"),
        (Page(status=429), "image download failed", "429"),
        (Page(b"half", lie=100), "image download failed", ""),
        (Page(seconds=0.6), "image download failed", "imeout"),
    ],
)
def test_failures_have_their_reason(web: Web, access: Access, page: Page, reason: str, detail: str) -> None:
    web.pages |= {"/a": page, "/b": Page(b"fine")}
    images = access(max_bytes=2000, timeout_s=0.3).images([web.url("/a"), web.url("/b")])
    found = images[web.url("/a")]
    assert isinstance(found, UnavailableImage)
    assert found.reason == reason
    assert detail in found.detail
    assert web.url("/a") in found.detail
    assert contents(images)["b"] == b"fine"


@pytest.mark.parametrize("kind", ["image/png", "IMAGE/JPEG; q=1", "binary/octet-stream", ""])
def test_image_types_and_undeclared_types_are_accepted(web: Web, access: Access, kind: str) -> None:
    web.pages["/a"] = Page(b"an image", content_type=kind)
    assert contents(access().images([web.url("/a")])) == {"a": b"an image"}


@pytest.mark.parametrize(
    "first", [Page(status=503), Page(status=429), Page(b"half of it", lie=100), Page(status=408), Page(seconds=0.5)]
)
def test_temporary_failure_is_retried(web: Web, access: Access, first: Page) -> None:
    web.pages["/a"] = lambda earlier: Page(b"fine") if earlier else first
    assert contents(access(timeout_s=0.3).images([web.url("/a")])) == {"a": b"fine"}


def test_retry_after_delays_the_whole_host(web: Web, access: Access) -> None:
    urls = serve_images(web, 6)
    web.pages["/0.jpg"] = lambda earlier: Page(b"fine") if earlier else Page(status=429, headers={"Retry-After": "1"})
    images = access(per_host=1).images(urls)
    assert contents(images)["0.jpg"] == b"fine"
    assert web.times[1] - web.times[0] >= 0.95


def test_second_request_is_conditional_and_reads_no_body(web: Web, access: Access) -> None:
    urls = serve_images(web, 30)
    web.pages["/dated.jpg"] = Page(b"dated", last_modified="Sun, 01 Mar 2026 12:00:00 GMT")
    web.pages["/moved.jpg"] = Page(status=302, headers={"Location": "/3.jpg?signature=1"})
    web.pages["/3.jpg?signature=1"] = web.pages["/3.jpg?signature=2"] = web.pages["/3.jpg"]
    urls += [web.url("/dated.jpg"), web.url("/moved.jpg"), web.url("/absent.jpg")]
    first = access().images(urls).describe()
    assert first["num_refused"] == 1
    web.forget()
    web.pages["/moved.jpg"] = Page(status=302, headers={"Location": "/3.jpg?signature=2"})
    assert access().images(urls).describe() == first
    assert web.bodies_read == 0
    assert {asked.path for asked in web.asked if not asked.conditional} == {"/moved.jpg", "/absent.jpg"}

    web.forget()
    web.pages["/7.jpg"] = Page(b"another", etag='"new"')
    second = access().images(urls)
    assert second.describe()["listing_sha256"] != first["listing_sha256"]
    assert web.bodies_read == len(b"another")
    assert contents(second)["7.jpg"] == b"another"


def test_unchanged_etag_without_conditional_support_reads_no_body(
    web: Web, access: Access, caplog: pytest.LogCaptureFixture
) -> None:
    web.pages["/a"] = Page(b"x" * 1000, etag='"1"', honours_conditions=False)
    access().images([web.url("/a")])
    with caplog.at_level(logging.INFO):
        access().images([web.url("/a")])
    assert "mirror: images: 1 unchanged; 0.0 MB read" in caplog.messages


def test_mirror_is_used_without_requests(web: Web, access: Access) -> None:
    urls = [*serve_images(web, 5), web.url("/absent.jpg")]
    first = contents(access().images(urls))
    web.pages.clear()
    web.forget()
    assert contents(access(refresh=False).images(urls)) == first
    assert not web.asked
    assert set(contents(access().images(urls)).values()) == {"image URL not found"}


def test_missing_or_damaged_object_is_fetched_again(web: Web, access: Access) -> None:
    urls = serve_images(web, 5)
    images = access().images(urls)
    gone, cut = images[urls[1]], images[urls[2]]
    assert isinstance(gone, Path)
    assert isinstance(cut, Path)
    gone.unlink()
    cut.write_bytes(b"cut")
    web.forget()
    assert contents(access(refresh=False).images(urls)) == {f"{index}.jpg": jpeg(index) for index in range(5)}
    assert sorted(asked.path for asked in web.asked) == ["/1.jpg", "/2.jpg"]


def test_earlier_copy_is_kept_after_a_failure_and_logged(
    web: Web, access: Access, caplog: pytest.LogCaptureFixture
) -> None:
    urls = [*serve_images(web, 3), web.url("/absent.jpg")]
    first = access().images(urls).describe()
    for index in range(2):
        web.pages[f"/{index}.jpg"] = Page(status=503)
    web.pages["/absent.jpg"] = Page(status=503)
    assert access().images(urls).describe() == first
    assert "mirror: 3 could not be requested; their earlier content is kept" in caplog.messages
    assert any("/1.jpg: 503" in message for message in caplog.messages)


def test_repeated_url_is_requested_once(web: Web, access: Access) -> None:
    urls = serve_images(web, 3)
    images = access().images(urls * 4)
    assert len(web.asked) == 3 == len(images)


@pytest.mark.parametrize(("connections", "per_host", "hosts", "most"), [(8, 3, 1, 3), (4, 3, 2, 4), (8, 2, 2, 4)])
def test_connection_limits_are_respected(
    web: Web, access: Access, connections: int, per_host: int, hosts: int, most: int
) -> None:
    serve_images(web, 24, seconds=0.03)
    names = ["127.0.0.1", "localhost"][:hosts]
    access(connections=connections, per_host=per_host).images(
        web.url(f"/{index}.jpg", host) for index in range(24) for host in names
    )
    assert web.most_at_once == most
    assert len(web.asked) == 24 * hosts


def test_slow_host_does_not_delay_others(web: Web, access: Access) -> None:
    urls = serve_images(web, 20)
    web.pages |= {f"/slow{index}": Page(b"slow", seconds=0.4) for index in range(4)}
    slow = [web.url(f"/slow{index}", "localhost") for index in range(4)]
    access(per_host=1, timeout_s=5).images([*slow, *urls])
    paths = [asked.path for asked in web.asked]
    assert paths.index("/19.jpg") < paths.index("/slow1")


def test_unreachable_host_is_given_up(web: Web, access: Access) -> None:
    urls = [web.url(f"/{index}") for index in range(200)]
    web.pages |= {f"/{index}": Page(status=503) for index in range(200)}
    images = access(per_host=2, retries=0).images(urls)
    assert set(contents(images).values()) == {"image download failed"}
    assert GIVE_UP_AFTER <= len(web.asked) <= GIVE_UP_AFTER + 2


def test_other_addresses_of_a_given_up_host_are_requested_next_time(web: Web, access: Access) -> None:
    bad = [web.url(f"/bad{index}") for index in range(30)]
    urls = serve_images(web, 90)
    web.pages |= {f"/bad{index}": Page(status=503) for index in range(30)}
    mirror = access(per_host=2, retries=0)
    assert set(contents(mirror.images([*bad, *urls])).values()) == {"image download failed"}
    again = contents(mirror.images([*bad, *urls]))
    assert [again[f"{index}.jpg"] for index in range(90)] == [jpeg(index) for index in range(90)]


def test_errors_of_single_addresses_do_not_give_up_the_host(web: Web, access: Access) -> None:
    bad = [web.url(f"/bad{index}") for index in range(GIVE_UP_AFTER + 10)]
    web.pages |= {f"/bad{index}": Page(status=500) for index in range(GIVE_UP_AFTER + 10)}
    urls = serve_images(web, 3)
    assert contents(access(retries=0).images([*bad, *urls]))["2.jpg"] == jpeg(2)


def test_private_addresses_are_not_requested(web: Web, access: Access) -> None:
    web.pages["/a"] = Page(b"secret")
    hosts = ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "[::ffff:127.0.0.1]", "[::1]", "0"]
    urls = [web.url("/a", host) for host in hosts]
    images = access(allow_private=False, retries=0).images(urls)
    for url in urls:
        found = images[url]
        assert isinstance(found, UnavailableImage), url
        assert found.reason in ("image URL refused", "image download failed"), (
            url
        )  # the latter if the host does not exist
    assert not web.asked
    found = images[urls[0]]
    assert isinstance(found, UnavailableImage)
    assert "private address; see ingest.download.allow_private" in found.detail


def test_redirect_or_name_to_a_private_address_is_not_followed(
    web: Web, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here 127.0.0.1 counts as public. The address is checked at the connection, however the name resolves."""
    real = socket.getaddrinfo

    def resolve(host: Any, *rest: Any, **options: Any) -> Any:
        return real("127.0.0.2" if host == "rebound.example" else host, *rest, **options)

    monkeypatch.setattr(http, "is_public", lambda ip: ip == "127.0.0.1")
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    web.pages |= {
        "/fine": Page(b"fine"),
        "/literal": Page(status=302, headers={"Location": "http://127.0.0.2:1/secret"}),
        "/named": Page(status=307, headers={"Location": "http://rebound.example:1/secret"}),
    }
    images = access(allow_private=False).images([web.url("/fine"), web.url("/literal"), web.url("/named")])
    assert contents(images) == {"fine": b"fine", "literal": "image URL refused", "named": "image URL refused"}


def test_proxy_is_used_only_if_private_addresses_are_allowed(
    web: Web, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", web.url(""))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    url = "http://shop.invalid/a.jpg"
    assert contents(access(allow_private=False, retries=0).images([url])) == {"a.jpg": "image download failed"}
    assert not web.asked
    web.pages[url] = Page(b"by proxy")
    assert contents(access().images([url])) == {"a.jpg": b"by proxy"}


def test_killed_download_is_resumed(web: Web, access: Access, tmp_path: Path) -> None:
    urls = serve_images(web, 60, seconds=0.03)
    code = (
        "import sys; from pathlib import Path; from fclip.mirror.source_access import SourceAccess\n"
        "from fclip.mirror.config import DownloadConfig\n"
        "SourceAccess(Path(), Path(sys.argv[1]), DownloadConfig(per_host=2, allow_private=True)).images(sys.argv[2:])"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "mirror"), *urls], cwd=REPOSITORY)
    while len(web.asked) < 20:
        time.sleep(0.01)
        assert process.poll() is None
    process.kill()
    process.wait()
    time.sleep(0.1)
    answered = len(web.asked)
    assert answered < 60
    web.forget()
    images = access(refresh=False).images(urls)
    assert contents(images) == {f"{index}.jpg": jpeg(index) for index in range(60)}
    assert 60 - answered <= len(web.asked) <= 60 - answered + 4  # requests in flight


def test_signal_ends_the_download_at_once(web: Web, tmp_path: Path) -> None:
    urls = serve_images(web, 10, seconds=5)
    code = (
        "import signal, sys; from pathlib import Path; from fclip.mirror.source_access import SourceAccess\n"
        "from fclip.mirror.config import DownloadConfig\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "SourceAccess(Path(), Path(sys.argv[1]), DownloadConfig(allow_private=True)).images(sys.argv[2:])"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "mirror"), *urls], cwd=REPOSITORY)
    while not web.at_once:
        time.sleep(0.01)
        assert process.poll() is None
    process.terminate()
    assert process.wait(4) == 7


def test_closing_the_iterator_ends_the_requests(web: Web, tmp_path: Path) -> None:
    urls = serve_images(web, 50, seconds=0.05)
    config = DownloadConfig(per_host=2, allow_private=True)
    looks = fetch_web(urls, MirrorStore(tmp_path / "mirror"), config, image_limits(config))
    next(looks)
    looks.close()  # type: ignore[attr-defined]
    time.sleep(0.15)
    assert len(web.asked) < 12


def test_damaged_index_is_an_error(access: Access, tmp_path: Path) -> None:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "index-1.sqlite").write_bytes(b"no database" * 200)
    with pytest.raises(
        UserError, match=r"index-1.sqlite is damaged .*; delete .*mirror, and its files are fetched again"
    ):
        access().images([])


def test_mirrored_files_are_complete_and_named_by_their_digest(web: Web, access: Access, tmp_path: Path) -> None:
    access().images([*serve_images(web, 20), web.url("/absent")])
    files = [path for path in (tmp_path / "mirror" / "objects").rglob("*") if path.is_file()]
    assert len(files) == 20
    assert all(path.name == sha256_file(path) for path in files)
    assert not list((tmp_path / "mirror" / "incoming").iterdir())

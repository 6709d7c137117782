"""Images from a web: what each answer comes to, what is asked again, and how much at once."""

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
from fclip.mirror.http import an_image
from fclip.mirror.source_access import MirroredImages, SourceAccess, Unavailable
from fclip.mirror.store import Store
from fclip.mirror.web import GIVE_UP_AFTER, ask_web
from tests.conftest import REPOSITORY
from tests.fclip.catalog.catalog_shop import jpeg
from tests.fclip.mirror.local_web import Page, Web

Look = Callable[..., SourceAccess]


def contents(images: MirroredImages) -> dict[str, bytes | str]:
    """What each address came to: bytes, or the reason of a refusal."""
    return {
        address.rpartition("/")[2]: found.reason if isinstance(found, Unavailable) else found.read_bytes()
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
        (Page(status=301, headers={"Location": "http://[::1/"}), "image URL refused", "no address"),
        (Page(status=304), "image URL refused", "304"),
        (Page(b"x" * 3000), "image too large", "more than 2000 bytes"),
        (Page(b"x" * 1000, endless=True), "image too large", "more than 2000 bytes"),
        (Page(status=500), "image download failed", "500"),
        (Page(status=429), "image download failed", "429"),
        (Page(b"half", lie=100), "image download failed", ""),
        (Page(seconds=0.6), "image download failed", "imeout"),
    ],
)
def test_each_failure_has_its_reason(web: Web, look: Look, page: Page, reason: str, detail: str) -> None:
    web.pages |= {"/a": page, "/b": Page(b"fine")}
    images = look(max_bytes=2000, timeout_s=0.3).images([web.url("/a"), web.url("/b")])
    found = images[web.url("/a")]
    assert isinstance(found, Unavailable)
    assert found.reason == reason
    assert detail in found.detail
    assert web.url("/a") in found.detail
    assert contents(images)["b"] == b"fine"


@pytest.mark.parametrize("kind", ["image/png", "IMAGE/JPEG; q=1", "binary/octet-stream", ""])
def test_an_image_or_bytes_of_no_kind(web: Web, look: Look, kind: str) -> None:
    web.pages["/a"] = Page(b"an image", content_type=kind)
    assert contents(look().images([web.url("/a")])) == {"a": b"an image"}


@pytest.mark.parametrize(
    "first", [Page(status=503), Page(status=429), Page(b"half of it", lie=100), Page(status=408), Page(seconds=0.5)]
)
def test_what_fails_for_a_moment_is_asked_again(web: Web, look: Look, first: Page) -> None:
    web.pages["/a"] = lambda earlier: Page(b"fine") if earlier else first
    assert contents(look(timeout_s=0.3).images([web.url("/a")])) == {"a": b"fine"}


def test_retry_after_closes_the_whole_host_for_its_time(web: Web, look: Look) -> None:
    urls = serve_images(web, 6)
    web.pages["/0.jpg"] = lambda earlier: Page(b"fine") if earlier else Page(status=429, headers={"Retry-After": "1"})
    images = look(per_host=1).images(urls)
    assert contents(images)["0.jpg"] == b"fine"
    assert web.times[1] - web.times[0] >= 0.95


def test_a_second_look_is_conditional_and_reads_nothing(web: Web, look: Look) -> None:
    urls = serve_images(web, 30)
    web.pages["/dated.jpg"] = Page(b"dated", last_modified="Sun, 01 Mar 2026 12:00:00 GMT")
    web.pages["/moved.jpg"] = Page(status=302, headers={"Location": "/3.jpg?signature=1"})
    web.pages["/3.jpg?signature=1"] = web.pages["/3.jpg?signature=2"] = web.pages["/3.jpg"]
    urls += [web.url("/dated.jpg"), web.url("/moved.jpg"), web.url("/absent.jpg")]
    first = look().images(urls).describe()
    assert first["num_refused"] == 1
    web.forget()
    web.pages["/moved.jpg"] = Page(status=302, headers={"Location": "/3.jpg?signature=2"})
    assert look().images(urls).describe() == first
    assert web.bodies_read == 0
    assert {asked.path for asked in web.asked if not asked.conditional} == {"/moved.jpg", "/absent.jpg"}

    web.forget()
    web.pages["/7.jpg"] = Page(b"another", etag='"new"')
    second = look().images(urls)
    assert second.describe()["listing_sha256"] != first["listing_sha256"]
    assert web.bodies_read == len(b"another")
    assert contents(second)["7.jpg"] == b"another"


def test_a_server_that_knows_no_conditions_is_not_read_where_its_etag_stands(
    web: Web, look: Look, caplog: pytest.LogCaptureFixture
) -> None:
    web.pages["/a"] = Page(b"x" * 1000, etag='"1"', honours_conditions=False)
    look().images([web.url("/a")])
    with caplog.at_level(logging.INFO):
        look().images([web.url("/a")])
    assert "mirror: images: 1 unchanged; 0.0 MB read" in caplog.messages


def test_the_mirror_stands_without_a_look(web: Web, look: Look) -> None:
    urls = [*serve_images(web, 5), web.url("/absent.jpg")]
    first = contents(look().images(urls))
    web.pages.clear()
    web.forget()
    assert contents(look(refresh=False).images(urls)) == first
    assert not web.asked
    assert set(contents(look().images(urls)).values()) == {"image URL not found"}


def test_an_object_that_is_gone_is_fetched_again(web: Web, look: Look) -> None:
    urls = serve_images(web, 5)
    images = look().images(urls)
    gone, cut = images[urls[1]], images[urls[2]]
    assert isinstance(gone, Path)
    assert isinstance(cut, Path)
    gone.unlink()
    cut.write_bytes(b"cut")
    web.forget()
    assert contents(look(refresh=False).images(urls)) == {f"{index}.jpg": jpeg(index) for index in range(5)}
    assert sorted(asked.path for asked in web.asked) == ["/1.jpg", "/2.jpg"]


def test_an_older_copy_is_kept_and_said_to_be(web: Web, look: Look, caplog: pytest.LogCaptureFixture) -> None:
    urls = [*serve_images(web, 3), web.url("/absent.jpg")]
    first = look().images(urls).describe()
    for index in range(2):
        web.pages[f"/{index}.jpg"] = Page(status=503)
    web.pages["/absent.jpg"] = Page(status=503)
    assert look().images(urls).describe() == first
    assert "mirror: 3 could not be asked for now: what they gave before is kept" in caplog.messages
    assert any("/1.jpg: 503" in message for message in caplog.messages)


def test_one_url_is_asked_once(web: Web, look: Look) -> None:
    urls = serve_images(web, 3)
    images = look().images(urls * 4)
    assert len(web.asked) == 3 == len(images)


@pytest.mark.parametrize(("connections", "per_host", "hosts", "most"), [(8, 3, 1, 3), (4, 3, 2, 4), (8, 2, 2, 4)])
def test_bounds_hold(web: Web, look: Look, connections: int, per_host: int, hosts: int, most: int) -> None:
    serve_images(web, 24, seconds=0.03)
    names = ["127.0.0.1", "localhost"][:hosts]
    look(connections=connections, per_host=per_host).images(
        web.url(f"/{index}.jpg", host) for index in range(24) for host in names
    )
    assert web.most_at_once == most
    assert len(web.asked) == 24 * hosts


def test_a_slow_host_holds_up_no_other(web: Web, look: Look) -> None:
    urls = serve_images(web, 20)
    web.pages |= {f"/slow{index}": Page(b"slow", seconds=0.4) for index in range(4)}
    slow = [web.url(f"/slow{index}", "localhost") for index in range(4)]
    look(per_host=1, timeout_s=5).images([*slow, *urls])
    paths = [asked.path for asked in web.asked]
    assert paths.index("/19.jpg") < paths.index("/slow1")


def test_a_host_that_is_down_is_given_up(web: Web, look: Look) -> None:
    urls = [web.url(f"/{index}") for index in range(200)]
    web.pages |= {f"/{index}": Page(status=503) for index in range(200)}
    images = look(per_host=2, retries=0).images(urls)
    assert set(contents(images).values()) == {"image download failed"}
    assert GIVE_UP_AFTER <= len(web.asked) <= GIVE_UP_AFTER + 2


def test_a_host_given_up_because_of_some_is_asked_for_the_others_next_time(web: Web, look: Look) -> None:
    bad = [web.url(f"/bad{index}") for index in range(30)]
    urls = serve_images(web, 90)
    web.pages |= {f"/bad{index}": Page(status=503) for index in range(30)}
    outside = look(per_host=2, retries=0)
    assert set(contents(outside.images([*bad, *urls])).values()) == {"image download failed"}
    again = contents(outside.images([*bad, *urls]))
    assert [again[f"{index}.jpg"] for index in range(90)] == [jpeg(index) for index in range(90)]


def test_one_broken_address_after_the_other_gives_up_no_host(web: Web, look: Look) -> None:
    bad = [web.url(f"/bad{index}") for index in range(GIVE_UP_AFTER + 10)]
    web.pages |= {f"/bad{index}": Page(status=500) for index in range(GIVE_UP_AFTER + 10)}
    urls = serve_images(web, 3)
    assert contents(look(retries=0).images([*bad, *urls]))["2.jpg"] == jpeg(2)


def test_private_addresses_are_not_asked(web: Web, look: Look) -> None:
    web.pages["/a"] = Page(b"secret")
    hosts = ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "[::ffff:127.0.0.1]", "[::1]", "0"]
    urls = [web.url("/a", host) for host in hosts]
    images = look(allow_private=False, retries=0).images(urls)
    for url in urls:
        found = images[url]
        assert isinstance(found, Unavailable), url
        assert found.reason in ("image URL refused", "image download failed"), url  # the latter: no such host
    assert not web.asked
    found = images[urls[0]]
    assert isinstance(found, Unavailable)
    assert "private address, see ingest.download.allow_private" in found.detail


def test_a_redirect_or_a_name_to_a_private_address_is_not_followed(
    web: Web, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    """127.0.0.1 plays the public Internet here. A name is checked where it is connected to, however it resolves."""
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
    images = look(allow_private=False).images([web.url("/fine"), web.url("/literal"), web.url("/named")])
    assert contents(images) == {"fine": b"fine", "literal": "image URL refused", "named": "image URL refused"}


def test_the_environments_proxy_only_where_private_addresses_are_allowed(
    web: Web, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", web.url(""))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    url = "http://shop.invalid/a.jpg"
    assert contents(look(allow_private=False, retries=0).images([url])) == {"a.jpg": "image download failed"}
    assert not web.asked
    web.pages[url] = Page(b"by proxy")
    assert contents(look().images([url])) == {"a.jpg": b"by proxy"}


def test_a_killed_download_goes_on_where_it_was(web: Web, look: Look, tmp_path: Path) -> None:
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
    images = look(refresh=False).images(urls)
    assert contents(images) == {f"{index}.jpg": jpeg(index) for index in range(60)}
    assert 60 - answered <= len(web.asked) <= 60 - answered + 4  # what was in flight


def test_a_signal_ends_it_at_once(web: Web, tmp_path: Path) -> None:
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


def test_stopping_ends_the_requests(web: Web, tmp_path: Path) -> None:
    urls = serve_images(web, 50, seconds=0.05)
    config = DownloadConfig(per_host=2, allow_private=True)
    looks = ask_web(urls, Store(tmp_path / "mirror"), config, an_image(config))
    next(looks)
    looks.close()  # type: ignore[attr-defined]
    time.sleep(0.15)
    assert len(web.asked) < 12


def test_a_damaged_index_is_named(look: Look, tmp_path: Path) -> None:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "index-1.sqlite").write_bytes(b"no database" * 200)
    with pytest.raises(UserError, match=r"index-1.sqlite is damaged .*: delete .*mirror, it is fetched again"):
        look().images([])


def test_files_in_the_mirror_are_whole_and_named_by_their_digest(web: Web, look: Look, tmp_path: Path) -> None:
    look().images([*serve_images(web, 20), web.url("/absent")])
    files = [path for path in (tmp_path / "mirror" / "objects").rglob("*") if path.is_file()]
    assert len(files) == 20
    assert all(path.name == sha256_file(path) for path in files)
    assert not list((tmp_path / "mirror" / "incoming").iterdir())

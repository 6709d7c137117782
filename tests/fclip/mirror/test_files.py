"""Remote tables and folders: over HTTP and in object stores, fetched when they changed and not otherwise."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from fclip.errors import UserError
from fclip.mirror.source_access import SourceAccess, Unavailable
from tests.fclip.mirror.local_web import Page, Web

Look = Callable[..., SourceAccess]


class Bucket:
    """fsspec's file system in memory, and the names of what was read of it."""

    def __init__(self) -> None:
        self.system = fsspec.filesystem("memory")
        self.read: list[str] = []

    def write(self, **files: bytes) -> None:
        for name, content in files.items():
            self.system.pipe_file(f"/shop/{name.replace('__', '/').replace('_', '.')}", content)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    monkeypatch.setattr(MemoryFileSystem, "pseudo_dirs", [""])
    bucket = Bucket()
    opened = MemoryFileSystem._open

    def remember(self: MemoryFileSystem, path: str, mode: str = "rb", **options: Any) -> Any:
        if mode == "rb":
            bucket.read.append(path)
        return opened(self, path, mode, **options)

    monkeypatch.setattr(MemoryFileSystem, "_open", remember)
    return bucket


def test_a_file_over_http_is_read_once_and_under_its_name(web: Web, look: Look) -> None:
    web.pages["/products.csv?token=1"] = Page(b"id\n1\n", content_type="text/csv", etag='"1"')
    url = web.url("/products.csv?token=1")
    path = look().file(url)
    assert (path.name, path.read_bytes()) == ("products.csv", b"id\n1\n")
    web.forget()
    assert look().file(url) == path
    assert [(asked.conditional, asked.status) for asked in web.asked] == [(True, 304)]
    web.pages["/products.csv?token=1"] = Page(b"id\n2\n", content_type="text/csv", etag='"2"')
    assert look(refresh=False).file(url).read_bytes() == b"id\n1\n"
    assert look().file(url).read_bytes() == b"id\n2\n"


def test_a_file_that_cannot_be_had(web: Web, look: Look, caplog: pytest.LogCaptureFixture) -> None:
    def message(address: str, **download: Any) -> str:
        with pytest.raises(UserError) as caught:
            look(**download).file(address)
        return str(caught.value)

    web.pages["/login.csv"] = Page(b"<html>", content_type="text/html")
    web.pages["/down.csv"] = Page(status=500)
    assert "cannot be fetched: missing (404 Not Found): mend it in params.yaml" in message(web.url("/absent.csv"))
    assert "cannot be fetched: refused (content type text/html)" in message(web.url("/login.csv"))
    assert "cannot be fetched: failed (500" in message(web.url("/down.csv"))
    assert "private address" in message(web.url("/login.csv"), allow_private=False)
    assert "its scheme is not among http, https, s3, gs" in message("file:///etc/passwd")

    web.pages["/down.csv"] = Page(b"id\n", content_type="")
    look().file(web.url("/down.csv"))
    web.pages["/down.csv"] = Page(status=500)
    assert look().file(web.url("/down.csv")).read_bytes() == b"id\n"
    assert "mirror: 1 could not be asked for now: what they gave before is kept" in caplog.messages


def test_a_file_in_a_bucket_is_read_when_it_changed(bucket: Bucket, look: Look) -> None:
    bucket.write(products_csv=b"id\n1\n")
    assert look().file("memory://shop/products.csv").read_bytes() == b"id\n1\n"
    assert look().file("memory://shop/products.csv").name == "products.csv"
    assert bucket.read == ["/shop/products.csv"]
    bucket.write(products_csv=b"id\n2\n")
    assert look(refresh=False).file("memory://shop/products.csv").read_bytes() == b"id\n1\n"
    assert look().file("memory://shop/products.csv").read_bytes() == b"id\n2\n"
    with pytest.raises(UserError, match=r"memory://shop/absent.csv cannot be fetched: missing: mend it"):
        look().file("memory://shop/absent.csv")


def test_images_in_a_bucket_are_listed_and_read_when_they_changed(bucket: Bucket, look: Look) -> None:
    bucket.write(images__a_jpg=b"a", images__deep__b_jpg=b"b", images__big_jpg=b"x" * 3000, images__other_jpg=b"o")
    names = ["a.jpg", "deep/b.jpg", "big.jpg", "absent.jpg"]
    addresses = [f"memory://shop/images/{name}" for name in names]

    def found(outside: SourceAccess) -> list[bytes | str]:
        images = outside.images(addresses)
        files = [images[address] for address in addresses]
        return [file.reason if isinstance(file, Unavailable) else file.read_bytes() for file in files]

    assert found(look(max_bytes=2000)) == [b"a", b"b", "image too large", "image file missing"]
    pin = look(max_bytes=2000).images(addresses).describe()
    assert sorted(bucket.read) == ["/shop/images/a.jpg", "/shop/images/deep/b.jpg"]
    bucket.write(images__deep__b_jpg=b"c", images__absent_jpg=b"new")
    assert found(look(max_bytes=2000, refresh=False)) == [b"a", b"b", "image too large", "image file missing"]
    assert found(look(max_bytes=2000)) == [b"a", b"c", "image too large", b"new"]
    assert look(max_bytes=2000).images(addresses).describe() != pin
    assert sorted(bucket.read[2:]) == ["/shop/images/absent.jpg", "/shop/images/deep/b.jpg"]


def test_a_bucket_that_fails_for_a_moment(bucket: Bucket, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.write(images__a_jpg=b"a", images__b_jpg=b"b")
    addresses = [f"memory://shop/images/{name}.jpg" for name in "ab"]
    before = look().images(addresses).describe()
    find = MemoryFileSystem.find
    failures = iter([OSError("away"), OSError("away")])

    def failing(self: MemoryFileSystem, *arguments: Any, **options: Any) -> Any:
        if error := next(failures, None):
            raise error
        return find(self, *arguments, **options)

    monkeypatch.setattr(MemoryFileSystem, "find", failing)
    bucket.write(images__a_jpg=b"A")
    assert look(retries=1).images(addresses).describe() == before
    assert look(retries=1).images(addresses).describe() != before


def test_a_folder_of_parquet_in_a_bucket(bucket: Bucket, look: Look) -> None:
    bucket.write(hub__b_parquet=b"2", hub__data__a_parquet=b"1", hub__readme_md=b"x")
    folder = look().folder("memory://shop/hub", patterns=["*.parquet"])
    assert {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.parquet")} == {
        "b.parquet": b"2",
        "data/a.parquet": b"1",
    }
    bucket.system.rm("/shop/hub/b.parquet")
    assert len(list(look(refresh=False).folder("memory://shop/hub", patterns=["*.parquet"]).rglob("*.parquet"))) == 2
    assert len(list(look().folder("memory://shop/hub", patterns=["*.parquet"]).rglob("*.parquet"))) == 1
    assert len(bucket.read) == 2
    only = look().folder("memory://shop/hub", patterns=["data/*"])
    assert [path.name for path in only.rglob("*.parquet")] == ["a.parquet"]
    file = look().folder("memory://shop/hub/data/a.parquet", patterns=["data/*"])
    assert (file.name, file.read_bytes()) == ("a.parquet", b"1")
    bucket.system.rm("/shop/hub", recursive=True)
    assert look(refresh=False).folder("memory://shop/hub/data/a.parquet", patterns=["data/*"]) == file
    with pytest.raises(UserError, match=r"memory://shop/images holds no file \*.parquet"):
        look().folder("memory://shop/images", patterns=["*.parquet"])


def test_local_paths_stay_local(look: Look, tmp_path: Path) -> None:
    assert look().file("shop/products.csv") == tmp_path / "shop" / "products.csv"
    assert look().folder("/elsewhere", patterns=["*.parquet"]) == Path("/elsewhere")
    assert not (tmp_path / "mirror").exists()


@pytest.mark.parametrize(("scheme", "library"), [("s3", "s3fs"), ("gs", "gcsfs")])
def test_a_missing_extra_is_named(look: Look, scheme: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, library, None)
    with pytest.raises(UserError, match=rf"{scheme}://bucket/products.csv needs the extra `{scheme}` .*pip install"):
        look().file(f"{scheme}://bucket/products.csv")

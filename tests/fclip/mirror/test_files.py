"""Remote files and folders over HTTP and in object stores: fetched only if they changed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from fclip.errors import UserError
from fclip.mirror.source_access import SourceAccess, UnavailableImage
from tests.fclip.mirror.local_web import Page, Web

Access = Callable[..., SourceAccess]


class Bucket:
    """fsspec's in-memory file system, with a record of the files that were read."""

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


def test_http_file_is_fetched_once_and_keeps_its_name(web: Web, access: Access) -> None:
    web.pages["/products.csv?token=1"] = Page(b"id\n1\n", content_type="text/csv", etag='"1"')
    url = web.url("/products.csv?token=1")
    path = access().file(url)
    assert (path.name, path.read_bytes()) == ("products.csv", b"id\n1\n")
    web.forget()
    assert access().file(url) == path
    assert [(asked.conditional, asked.status) for asked in web.asked] == [(True, 304)]
    web.pages["/products.csv?token=1"] = Page(b"id\n2\n", content_type="text/csv", etag='"2"')
    assert access(refresh=False).file(url).read_bytes() == b"id\n1\n"
    assert access().file(url).read_bytes() == b"id\n2\n"


def test_file_that_cannot_be_fetched_is_an_error(web: Web, access: Access, caplog: pytest.LogCaptureFixture) -> None:
    def message(address: str, **download: Any) -> str:
        with pytest.raises(UserError) as caught:
            access(**download).file(address)
        return str(caught.value)

    web.pages["/login.csv"] = Page(b"<html>", content_type="text/html")
    web.pages["/down.csv"] = Page(status=500)
    assert "cannot be fetched: missing (404 Not Found); correct the address in params.yaml" in message(
        web.url("/absent.csv")
    )
    assert "cannot be fetched: refused (content type text/html)" in message(web.url("/login.csv"))
    assert "cannot be fetched: failed (500" in message(web.url("/down.csv"))
    assert "private address" in message(web.url("/login.csv"), allow_private=False)
    assert "its scheme is not one of http, https, s3, gs" in message("file:///etc/passwd")

    web.pages["/down.csv"] = Page(b"id\n", content_type="")
    access().file(web.url("/down.csv"))
    web.pages["/down.csv"] = Page(status=500)
    assert access().file(web.url("/down.csv")).read_bytes() == b"id\n"
    assert "mirror: 1 could not be requested; their earlier content is kept" in caplog.messages


def test_bucket_file_is_fetched_when_it_changed(bucket: Bucket, access: Access) -> None:
    bucket.write(products_csv=b"id\n1\n")
    assert access().file("memory://shop/products.csv").read_bytes() == b"id\n1\n"
    assert access().file("memory://shop/products.csv").name == "products.csv"
    assert bucket.read == ["/shop/products.csv"]
    bucket.write(products_csv=b"id\n2\n")
    assert access(refresh=False).file("memory://shop/products.csv").read_bytes() == b"id\n1\n"
    assert access().file("memory://shop/products.csv").read_bytes() == b"id\n2\n"
    with pytest.raises(UserError, match=r"memory://shop/absent.csv cannot be fetched: missing; correct the address"):
        access().file("memory://shop/absent.csv")


def test_bucket_images_are_fetched_when_they_changed(bucket: Bucket, access: Access) -> None:
    bucket.write(images__a_jpg=b"a", images__deep__b_jpg=b"b", images__big_jpg=b"x" * 3000, images__other_jpg=b"o")
    names = ["a.jpg", "deep/b.jpg", "big.jpg", "absent.jpg"]
    addresses = [f"memory://shop/images/{name}" for name in names]

    def found(access: SourceAccess) -> list[bytes | str]:
        images = access.images(addresses)
        files = [images[address] for address in addresses]
        return [file.reason if isinstance(file, UnavailableImage) else file.read_bytes() for file in files]

    assert found(access(max_bytes=2000)) == [b"a", b"b", "image too large", "image file missing"]
    pin = access(max_bytes=2000).images(addresses).describe()
    assert sorted(bucket.read) == ["/shop/images/a.jpg", "/shop/images/deep/b.jpg"]
    bucket.write(images__deep__b_jpg=b"c", images__absent_jpg=b"new")
    assert found(access(max_bytes=2000, refresh=False)) == [b"a", b"b", "image too large", "image file missing"]
    assert found(access(max_bytes=2000)) == [b"a", b"c", "image too large", b"new"]
    assert access(max_bytes=2000).images(addresses).describe() != pin
    assert sorted(bucket.read[2:]) == ["/shop/images/absent.jpg", "/shop/images/deep/b.jpg"]


def test_temporary_bucket_failure_keeps_the_mirror(
    bucket: Bucket, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.write(images__a_jpg=b"a", images__b_jpg=b"b")
    addresses = [f"memory://shop/images/{name}.jpg" for name in "ab"]
    before = access().images(addresses).describe()
    find = MemoryFileSystem.find
    failures = iter([OSError("away"), OSError("away")])

    def failing(self: MemoryFileSystem, *arguments: Any, **options: Any) -> Any:
        if error := next(failures, None):
            raise error
        return find(self, *arguments, **options)

    monkeypatch.setattr(MemoryFileSystem, "find", failing)
    bucket.write(images__a_jpg=b"A")
    assert access(retries=1).images(addresses).describe() == before
    assert access(retries=1).images(addresses).describe() != before


def test_bucket_folder_is_mirrored_by_patterns(bucket: Bucket, access: Access) -> None:
    bucket.write(hub__b_parquet=b"2", hub__data__a_parquet=b"1", hub__readme_md=b"x")
    folder = access().folder("memory://shop/hub", patterns=["*.parquet"])
    assert {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.parquet")} == {
        "b.parquet": b"2",
        "data/a.parquet": b"1",
    }
    bucket.system.rm("/shop/hub/b.parquet")
    assert len(list(access(refresh=False).folder("memory://shop/hub", patterns=["*.parquet"]).rglob("*.parquet"))) == 2
    assert len(list(access().folder("memory://shop/hub", patterns=["*.parquet"]).rglob("*.parquet"))) == 1
    assert len(bucket.read) == 2
    only = access().folder("memory://shop/hub", patterns=["data/*"])
    assert [path.name for path in only.rglob("*.parquet")] == ["a.parquet"]
    file = access().folder("memory://shop/hub/data/a.parquet", patterns=["data/*"])
    assert (file.name, file.read_bytes()) == ("a.parquet", b"1")
    bucket.system.rm("/shop/hub", recursive=True)
    assert access(refresh=False).folder("memory://shop/hub/data/a.parquet", patterns=["data/*"]) == file
    with pytest.raises(UserError, match=r"memory://shop/images has no file \*.parquet"):
        access().folder("memory://shop/images", patterns=["*.parquet"])


def test_local_paths_are_not_mirrored(access: Access, tmp_path: Path) -> None:
    assert access().file("shop/products.csv") == tmp_path / "shop" / "products.csv"
    assert access().folder("/other", patterns=["*.parquet"]) == Path("/other")
    assert not (tmp_path / "mirror").exists()


@pytest.mark.parametrize(("scheme", "library"), [("s3", "s3fs"), ("gs", "gcsfs")])
def test_missing_extra_is_an_error_that_names_it(
    access: Access, scheme: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, library, None)
    with pytest.raises(UserError, match=rf"{scheme}://bucket/products.csv needs the extra `{scheme}` .*pip install"):
        access().file(f"{scheme}://bucket/products.csv")

"""Hostile catalogs: a folder of hostile files, hostile cells, and tables that combine them.

The folder has pictures, files that are not pictures, pipes, and links that lead out of it to canary files. `catalogs`
generates tables of its file names and of other cells, in every supported file format.
"""

import csv
import io
import json
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from tests.fclip.catalog.catalog_shop import Shop, jpeg
from tests.fclip.catalog.hostile_images import encoded, hostile_images
from tests.fclip.catalog.test_near_duplicates import photograph

CANARY = b"content of a file outside the folder; it must not be in any output"
COLUMNS = ("id", "title", "colour", "image", "parent")
FORMS = ("csv", "tsv", "semicolons", "bom", "latin-1", "crlf", "jsonl", "parquet", "hub")

IDS: tuple[Any, ...] = (
    *("1", "01", "1.0", "\uff11", 1, 1.0, True, -1, "", "  ", None, float("nan"), float("inf"), "a\nb", "a\x00b"),
    *("\ud800", "caf\udce9", " x ", "x" * 256, "x" * 257, "\u200b", "\u2028", "\ufeffp1", "../../p", "=1+1", "p\u0301"),
    *([], ["a", "b"], {"a": 1}, 10**300, "\U0001f9e2", "<b>", "'; DROP TABLE products; --", "P1", "p1 ", "NULL"),
)
TEXTS: tuple[Any, ...] = (
    *(None, "", " ", float("nan"), float("-inf"), 1e308, -0.0, 10**300, True, "a\x00b", "\x00", "\ud83e\udde2"),
    *("\ud800", "caf\udce9", "\ufeffred", "CafÃ© crÃ¨me", "\u202egnp.exe", "\U0001f468\u200d\U0001f469" * 9),
    *("e" + "\u0301\u0323" * 400, "\ufdfa" * 300, "\u0627\u0644" * 99, "\u200b" * 99, "x" * 1000, "x" * 1001),
    *('"', '"",', "a,b;c\td|e", "two\nlines\r\n", "\r", "\x1b[2J\x1b]0;title\x07", "<script>", "{title}", "%s%n", "\\"),
    *([], [["a"], None], {"a": {"b": [1]}}, "NaN", "null", "\x85\u2028", "Ã\u0083" * 200, "\x01\x02" * 900),
    *("y" * 99_999, "\U0001f9e2" * 40),
)
PARENTS: tuple[Any, ...] = (None, "", "p1", "p2", "1", "red coat no 1", "\ud800", "x" * 300, ["p1"], "\n", "p\x00")
NAMES: tuple[Any, ...] = (
    *(None, "", " ", ".", "..", "/", "\\", "~", "*", "?", "0.jpg/", "./0.jpg", "sub/../0.jpg", "0.JPG"),
    *("../canary.jpg", "../../canary.jpg", "sub/../../canary.jpg", "a/../../b", "..\\..\\x", "....//canary.jpg"),
    *("link out.jpg", "link up/canary.jpg", "link up/../canary.jpg", "link to passwd", "loop.jpg", "loop/x/../0.jpg"),
    *("dangling.jpg", "link in.jpg", "link to sub/3.jpg", "pipe.jpg", "socket.jpg", "device.jpg", "folder.jpg"),
    *("sparse.jpg", "link to pipe", "round/round/0.jpg", "0.jpg\x00.png", "0.jpg\n", "caf\udce9.jpg", "\ud800.jpg"),
    *("/etc/passwd", "//etc/passwd", "/dev/zero", "/proc/self/environ", "%2e%2e/canary.jpg", "\uff0e\uff0e/canary.jpg"),
    *("file:///etc/passwd", "FILE:///etc/passwd", "https://127.0.0.1:9/a.jpg", "HtTp://[::1", "data:image/png,AA"),
    *("n" * 256, "n" * 5000, "a/" * 3000, "../" * 4000, "a/" * 99_999, 0, 0.0, {}, "\x1b[2J.jpg"),
    *([], ["0.jpg", None, "1.jpg"], ["../canary.jpg"], ["0.jpg"] * 300, [["0.jpg"]], {"path": "0.jpg"}),
)


def furnish(shop: Shop) -> None:
    """Create the folder of images, and canary files around it."""
    shop.write_images(8)
    (shop.images / "sub").mkdir()
    for number in range(3):
        (shop.images / "sub" / f"{number + 3}.jpg").write_bytes(jpeg(100 + number))
    photograph(1).save(shop.images / "photo.jpg", quality=95)
    photograph(1).save(shop.images / "photo again.jpg", quality=70)
    for name, (content, _) in hostile_images().items():
        (shop.images / name).write_bytes(content)
    canary = encoded(photograph(77), "JPEG", comment=CANARY)
    outside = shop.root / "outside"
    outside.mkdir()
    for folder in (shop.root, shop.root / "shop", outside):
        (folder / "canary.jpg").write_bytes(canary)
    os.mkfifo(outside / "pipe.jpg")
    os.mkfifo(shop.images / "pipe.jpg")
    os.mknod(shop.images / "socket.jpg", stat.S_IFSOCK | 0o600)
    (shop.images / "folder.jpg").mkdir()
    with (shop.images / "sparse.jpg").open("wb") as file:
        file.truncate(2**40)
    (shop.images / os.fsdecode(b"caf\xe9.jpg")).write_bytes(jpeg(55))
    (shop.images / "two\nlines.jpg").write_bytes(jpeg(56))
    links = {
        "link out.jpg": outside / "canary.jpg",
        "link up": outside,
        "link to pipe": outside / "pipe.jpg",
        "link to passwd": "/etc/passwd",
        "device.jpg": "/dev/zero",
        "loop.jpg": "loop.jpg",
        "loop": "sub/loop",
        "sub/loop": "../loop",
        "round": ".",
        "dangling.jpg": "nowhere",
        "link in.jpg": "0.jpg",
        "link to sub": "sub",
    }
    for name, target in links.items():
        (shop.images / name).symlink_to(target)


@dataclass(frozen=True)
class Catalog:
    """A hostile catalog: its file format and its rows (cells by column)."""

    form: str
    rows: list[dict[str, Any]]

    @property
    def name(self) -> str:
        """The name of its table in the shop's folder, or of the folder of its hub files."""
        ending = {"tsv": "tsv", "jsonl": "jsonl", "parquet": "parquet", "hub": "hub"}.get(self.form, "csv")
        return "hub" if ending == "hub" else f"products.{ending}"

    def write(self, folder: Path) -> None:
        """Write the table into `folder`."""
        match self.form:
            case "jsonl":
                lines = [json.dumps(row) for row in self.rows]
                (folder / self.name).write_text("\n".join(lines) + "\n")
            case "parquet":
                pq.write_table(pa.table({name: _strings(self.rows, name) for name in COLUMNS}), folder / self.name)
            case "hub":
                (folder / "hub").mkdir(exist_ok=True)
                pictures = {path.name: path for path in (folder / "images").iterdir() if path.is_file()}
                contents = [_content(pictures, row["image"]) for row in self.rows]
                columns = {name: _strings(self.rows, name) for name in COLUMNS} | {"image": pa.array(contents)}
                half = len(self.rows) // 2
                for part, rows in enumerate((slice(0, half), slice(half, None))):
                    table = pa.table({name: column[rows] for name, column in columns.items()})
                    pq.write_table(table, folder / "hub" / f"part {part}.parquet", row_group_size=3)
            case _:
                (folder / self.name).write_bytes(self._delimited())

    def _delimited(self) -> bytes:
        text = io.StringIO()
        delimiter = {"tsv": "\t", "semicolons": ";"}.get(self.form, ",")
        writer = csv.writer(
            text, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\r\n" if self.form == "crlf" else "\n"
        )
        writer.writerow(COLUMNS)
        writer.writerows([_text(row[name]) for name in COLUMNS] for row in self.rows)
        if self.form == "latin-1":
            return text.getvalue().encode("latin-1", "replace")
        return (b"\xef\xbb\xbf" if self.form == "bom" else b"") + text.getvalue().encode("utf-8", "surrogatepass")


def catalogs(pictures: Sequence[str]) -> st.SearchStrategy[Catalog]:
    """Generate catalogs of 2 to 40 rows, half of them good. `pictures` are file names in the folder."""
    cells = st.fixed_dictionaries(
        {},
        optional={
            "id": st.one_of(st.sampled_from(IDS), st.text()),
            "title": st.one_of(st.sampled_from(TEXTS), st.text()),
            "colour": st.one_of(st.sampled_from(["Red ", "RED", "blue"]), st.sampled_from(TEXTS)),
            "image": st.one_of(st.sampled_from(pictures), st.sampled_from(NAMES), st.text()),
            "parent": st.sampled_from(PARENTS),
        },
    )
    changes = st.lists(st.one_of(st.just({}), cells), min_size=2, max_size=40)
    return st.builds(Catalog, st.sampled_from(FORMS), changes.map(rows_of))


def rows_of(changes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return good rows with the given cells changed."""
    return [
        {"id": f"p{number}", "title": f"Coat {number}", "colour": "red", "image": f"{number % 8}.jpg", "parent": None}
        | changed
        for number, changed in enumerate(changes)
    ]


def _text(cell: Any) -> str:
    return "" if cell is None else cell if isinstance(cell, str) else str(cell)


def _strings(rows: Sequence[dict[str, Any]], name: str) -> pa.Array:
    """Return a column of strings that may not be UTF-8."""
    cells = [None if row[name] is None else _text(row[name]).encode("utf-8", "surrogatepass") for row in rows]
    return pa.array(cells, pa.binary()).view(pa.string())


def _content(pictures: dict[str, Path], name: Any) -> bytes | None:
    if not isinstance(name, str) or name not in pictures or name == "sparse.jpg":
        return None if name is None else repr(name).encode("utf-8", "backslashreplace")[:999]
    return pictures[name].read_bytes()

"""Hostile tables: damaged, truncated or mislabelled files, and their errors."""

import gzip
import json
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from fclip.catalog.products import ProductColumns
from fclip.catalog.rows import SourceRow
from fclip.catalog.sources.fmnist import FmnistSource
from fclip.catalog.sources.registry import describe, read
from fclip.errors import UserError
from tests.fclip.catalog.catalog_shop import Built, Shop
from tests.fclip.catalog.hostile_shop import outcome, within

HEAD = b"id,title,colour,image\n"
GOOD = b"p0,Coat,red,0.jpg\np1,Hat,red,1.jpg\n"
RECORD = '{"id": "p0", "title": "Coat", "colour": "red", "image": "0.jpg"}'


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    shop.write_images(8)
    return shop


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEAD + GOOD + b'p2,"Coat,red,2.jpg\np3,Hat,red,3.jpg\n', "lines 4 to 5: a quote is opened and not closed"),
        (
            HEAD + GOOD + b'p2,"Cap\np3,Bag,red,3.jpg\np4,"Sock",red,4.jpg\n',
            "lines 4 to 6: a quote .*number of rows is unknown",
        ),
        (HEAD + GOOD + b'p2,"' + b"x,y\n" * 2_500_000, "lines 4 to 2500003: a quote is opened"),
        (b'id,title,"colour,image\n' + GOOD, "lines 1 to 3: a quote is opened"),
        (b'id,"ti"tle,colour,image\n' + GOOD, "line 1: .* correct the names of the columns"),
        ((HEAD + GOOD).decode().encode("utf-16"), "UTF-16; save it as UTF-8"),
        ((HEAD + GOOD).decode().encode("utf-32"), "UTF-16; save it as UTF-8"),
        ((HEAD + GOOD).decode().encode("utf-16-le"), r"has no columns.*`i\\x00d\\x00`"),
        (b"\x00" * 5000, "has no columns"),
        (b"id:title:colour:image\n" + GOOD, "has no columns `id`.*columns: `id:title:colour:image`"),
        (b"id,t\xeftre,colour,image\n" + GOOD, r"has no column `title` \(columns: `id`, `t\\udceftre`"),
        (",".join(f"c{n}" for n in range(60_000)).encode() + b"\n", r"has no columns.*`c49`, … \(60000 columns\)"),
        (b"x" * 10_000_000 + b"\n", "has no columns"),
        (b"\x1b[2J\x1b]0;title\x07\n", r"columns: `\\x1b\[2J\\x1b\]0;title\\x07`"),
        (b"\n\n\n" + HEAD + GOOD, "is empty; its first line must"),
        (b"\xef\xbb\xbf", "is empty; its first line must"),
        (HEAD, "has 0 rows"),
        (b"id,id,title,colour,image\n" + GOOD, "the column `id` twice"),
        (b"PAR1" + bytes(500), "has no columns"),
    ],
)
def test_invalid_text_tables_are_errors(shop: Shop, content: bytes, message: str) -> None:
    with within(20):
        error = outcome(shop, "products.csv", content)
    assert isinstance(error, str)
    assert re.search(message, error), error


@pytest.mark.parametrize(
    ("content", "refused", "num_products"),
    [
        (HEAD.replace(b"\n", b"\r") + GOOD.replace(b"\n", b"\r"), {}, 2),
        (HEAD + GOOD + b"\xef\xbb\xbf" + HEAD + b"\xef\xbb\xbfp2,Cap,red,2.jpg\n", {"image file missing": 1}, 3),
        (HEAD + GOOD + b"p2,Caf\xe9,red,2.jpg\n", {"broken encoding": 1}, 2),
        (HEAD + GOOD + b"p2,C\0ap,r\0ed,2.jpg\np\x003,Bag,red,3.jpg\n", {"control characters in product_id": 1}, 3),
        (HEAD + GOOD + b"p2;Cap;red;2.jpg\n", {"wrong number of fields": 1}, 2),
        (HEAD + GOOD + b'p2,"Cap" 5",red,2.jpg\np3,Bag 5",red,3.jpg\np4,Cap,red,"4.jpg\n', {"broken quotes": 2}, 3),
        (HEAD + GOOD + b"p2," + b"x" * 10_000_000 + b",red,2.jpg\n", {"text too long": 1}, 2),
        (HEAD + GOOD + b"p2,Cap,red," + b"a/" * 5_000_000 + b"\n", {"image file missing": 1}, 2),
        (HEAD + GOOD + b"p2,Cap,red" + b"," * 1_000_000 + b"\n", {"wrong number of fields": 1}, 2),
        (HEAD + GOOD + "p2,Ã©,red,2.jpg\n".encode() * 3, {"duplicate product_id": 2}, 3),
        (HEAD + GOOD + ("p2," + "Ã©â€™\x01" * 1_000_000 + ",red,2.jpg\n").encode(), {"text too long": 1}, 2),
        (b"id,extra,title,extra,colour,image\np0,,Coat,,red,0.jpg\n", {}, 1),
    ],
)
def test_invalid_rows_of_text_tables_are_refused(
    shop: Shop, content: bytes, refused: dict[str, int], num_products: int
) -> None:
    with within(20):
        assert outcome(shop, "products.csv", content) == refused
    assert json.loads((shop.root / "out" / "catalog" / "ingest.json").read_text())["num_products"] == num_products


def test_refusal_names_the_lines_of_an_open_quote(shop: Shop, build: Callable[..., Built]) -> None:
    shop.write_csv([HEAD.strip(), *GOOD.splitlines(), 'p2,"Cap', 'p3,Bag,red,3.jpg"', "p4,Sock,red,4.jpg"])
    built = build(shop.source(), split={"train": 1.0})
    assert [row["product_id"] for row in built.products] == ["p0", "p1", "p4"]
    assert built.refused[0]["detail"].startswith("lines 4 to 5: 2 fields, 4 columns: ['p2',")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[" * 100_000, "not JSON"),
        ('{"id": ' + "[" * 800 + "]" * 800 + "}", "nested too deep"),
        ('{"id": "p1", "image": "1.jpg", "more": ' + '{"a":' * 40 + "1" + "}" * 41, "nested too deep"),
        ('{"id": ' + "9" * 10_000 + ', "image": "1.jpg"}', "not JSON"),
        ('{"id": Infinity, "title": NaN, "colour": -Infinity, "image": "1.jpg"}', None),
        ('{"id": NaN, "image": "1.jpg", "price": NaN}', "empty product_id"),
        ('{"id": "\\ud800", "image": "1.jpg"}', "broken encoding"),
        ('{"id": "p1", "title": "\\ud83e\\udde2 \\udc00", "image": "1.jpg"}', "broken encoding"),
        ('{"id": "p1", "image": "\\ud800.jpg"}', "image file missing"),
        ('\ufeff{"id": "p1", "image": "1.jpg"}', "not JSON"),
        ('{"id": "p\\u00851", "image": "1.jpg"}', "control characters in product_id"),
        ('{"id": "p1", "title": "' + "x" * 10_000_000 + '", "image": "1.jpg"}', "text too long"),
        (json.dumps({"id": "p1", "image": ["1.jpg"] * 200_000}), "too many images"),
        (json.dumps({"id": "p1", "image": "a.jpg", "k" * 9_000_000: 1}), "image file missing"),
        (json.dumps({"id": "p1", "image": "a.jpg"} | {f"k{n}": n for n in range(50_000)}), "image file missing"),
        ("null", "not JSON"),
        ('{"id": "p1", "id": "p2", "image": "1.jpg"}', None),
    ],
)
def test_invalid_json_lines_are_refused_with_their_reason(shop: Shop, line: str, reason: str | None) -> None:
    with within(20):
        refused = outcome(shop, "products.jsonl", f"{RECORD}\n{line}\n".encode())
    assert refused == ({} if reason is None else {reason: 1})


def test_similar_ids_are_distinct_products(shop: Shop, build: Callable[..., Built]) -> None:
    ids = ["1", "01", "1.0", "\uff11", "I", "l", "a", "\u0430", "\u00e9", "e\u0301"]
    records = [{"id": each, "title": f"T{n}", "colour": "x", "image": f"{n % 8}.jpg"} for n, each in enumerate(ids)]
    more = [{"id": 1, "image": "0.jpg"}, {"id": 1.0, "image": "0.jpg"}, {"id": "1\n", "image": "0.jpg"}]
    shop.write_csv([json.dumps(record) for record in [*records, *more]], "products.jsonl")
    built = build(shop.source("products.jsonl"), split={"train": 1.0})
    assert sorted(row["product_id"] for row in built.products) == sorted(ids)
    assert built.reasons == dict.fromkeys((10, 11, 12), "duplicate product_id")


def test_product_may_be_its_own_parent(shop: Shop, build: Callable[..., Built]) -> None:
    rows = ["p0,Coat,red,0.jpg,p0", "p1,Hat,red,1.jpg,p0", "p2,Cap,red,2.jpg,p3", "p3,Bag,red,3.jpg,p2"]
    shop.write_csv(["id,title,colour,image,parent", *rows])
    groups = {row["product_id"]: row["group_id"] for row in build(shop.source(parent_id="parent")).products}
    assert groups == {"p0": "p0", "p1": "p0", "p2": "p3", "p3": "p2"}


def test_long_cell_is_not_searched_for_a_parent(shop: Shop) -> None:
    content = HEAD + GOOD + b"p2," + b"1" * 5_000_000 + b",red,2.jpg\n"
    with within(10):
        refused = outcome(shop, "products.csv", content, parent_id="title", parent_pattern=r"\d+-")
    assert refused == {"parent_id too long": 1}


def test_gzip_bomb_of_fashion_mnist_is_an_error(shop: Shop) -> None:
    source = FmnistSource(kind="fmnist", path="shop", num_select=5)
    for part in ("train", "t10k"):
        for name, header in ((f"{part}-images-idx3-ubyte.gz", 3), (f"{part}-labels-idx1-ubyte.gz", 1)):
            shape = (0, 0, 0)[:header]
            content = (0x800 + header).to_bytes(4, "big") + struct.pack(f">{header}i", *shape)
            (shop.root / "shop" / name).write_bytes(gzip.compress(content))
    bomb = gzip.compress(bytes(2**24)) * 60  # a gigabyte
    (shop.root / "shop" / "t10k-labels-idx1-ubyte.gz").write_bytes(bomb)
    with within(5), pytest.raises(UserError, match="is damaged"):
        describe(source, shop.access)
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte\.gz is damaged"):
        list(read(source, shop.access, None))


def test_many_spellings_are_unified_in_bounded_time() -> None:
    columns = ProductColumns()
    for number in range(20_000):
        colour = f"{'Red' if number % 2 else 'red'} {number // 2}"
        columns.add(SourceRow(number, str(number), {"colour": colour}, {}, ()), [0])
    products = columns.finish()
    with within(4):
        spelled, repairs = products.with_unified_spellings()
    assert len(repairs) == 10_000
    assert len(set(spelled.attributes["colour"].to_pylist())) == 10_000

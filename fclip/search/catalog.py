"""The products of an index in SQLite: titles, attributes for filters, and words for full-text search.

SQLite is part of Python and opens in a millisecond. The file is written once and only read afterwards.
"""

import difflib
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fclip.errors import UserError

Ints = NDArray[np.int64]
Filters = Mapping[str, str | Sequence[str]]
DATASET = "dataset"
MAX_NAMED = 12  # values that an error lists
MAX_VARIABLES = 900  # of one SQL statement
NUMBER = "<i4"  # of the products with a value: one array is read much faster than a row for each
SCHEMA = """
CREATE TABLE products (number INTEGER PRIMARY KEY, dataset TEXT, product_id TEXT, title TEXT, attributes TEXT);
CREATE TABLE images (image INTEGER PRIMARY KEY, sha256 TEXT);
CREATE TABLE attribute_values (id INTEGER PRIMARY KEY, name TEXT, value TEXT, num_products INTEGER);
CREATE TABLE value_products (id INTEGER PRIMARY KEY, products BLOB);
CREATE VIRTUAL TABLE words USING fts5(text, content='', tokenize="porter unicode61 remove_diacritics 2");
"""
INDEX = "CREATE INDEX product_ids ON products (product_id)"


@dataclass(frozen=True)
class Product:
    """A product. `title`: its embedded text. `words`: all its texts, for full-text search."""

    dataset: str
    product_id: str
    title: str
    attributes: Mapping[str, str]
    words: str = ""


def write_catalog(path: Path, products: Sequence[Product], image_sha256: Sequence[str]) -> None:
    """Write the products, numbered in this order, and the digests of the images, in the order of the vectors.

    Raises:
        UserError: this Python's SQLite has no full-text search.
    """
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = OFF")  # a build that is interrupted leaves no index
        connection.execute("PRAGMA synchronous = OFF")  # the caller syncs the file
        connection.executescript(SCHEMA)
        connection.execute("BEGIN")
        _write(connection, products, image_sha256)
        connection.execute("COMMIT")
        connection.execute(INDEX)
        connection.execute("INSERT INTO words(words) VALUES ('optimize')")
    except sqlite3.OperationalError as error:
        if "fts5" not in str(error):
            raise
        raise UserError("SQLite of this Python has no full-text search (FTS5); use Python of python.org") from error
    finally:
        connection.close()


def _write(connection: sqlite3.Connection, products: Sequence[Product], image_sha256: Sequence[str]) -> None:
    numbers: dict[tuple[str, str], list[int]] = {}
    for number, product in enumerate(products):
        for pair in filterable(product).items():
            numbers.setdefault(pair, []).append(number)
    connection.executemany(
        "INSERT INTO products VALUES (?, ?, ?, ?, ?)",
        (
            (number, each.dataset, each.product_id, each.title, json.dumps(each.attributes, ensure_ascii=False))
            for number, each in enumerate(products)
        ),
    )
    connection.executemany("INSERT INTO images VALUES (?, ?)", enumerate(image_sha256))
    for identity, ((name, value), listed) in enumerate(numbers.items()):
        connection.execute("INSERT INTO attribute_values VALUES (?, ?, ?, ?)", (identity, name, value, len(listed)))
        connection.execute("INSERT INTO value_products VALUES (?, ?)", (identity, np.array(listed, NUMBER).tobytes()))
    connection.executemany(
        "INSERT INTO words (rowid, text) VALUES (?, ?)",
        (
            (number, " ".join([each.title, *each.attributes.values(), each.words]))
            for number, each in enumerate(products)
        ),
    )


def filterable(product: Product) -> dict[str, str]:
    """Return what a filter may name: the attributes, and `dataset` unless an attribute has this name."""
    return {DATASET: product.dataset, **product.attributes}


class Catalog:
    """The products of an index, for reading. Methods may be called from several threads.

    Raises:
        UserError: the file is not a catalog, or is damaged; raised by any method.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False
        )
        self._select("SELECT 1 FROM products LIMIT 1")

    def products(self, numbers: Sequence[int]) -> dict[int, Product]:
        """Return products by number, without `words`."""
        return {
            number: Product(dataset, product_id, title, json.loads(attributes))
            for part in _parts(numbers)
            for number, dataset, product_id, title, attributes in self._select(
                f"SELECT * FROM products WHERE number IN ({_marks(part)})", part
            )
        }

    def image_sha256(self, images: Sequence[int]) -> dict[int, str]:
        """Return the digests of images by their number, the row of their vector."""
        return {
            image: sha256
            for part in _parts(images)
            for image, sha256 in self._select(f"SELECT image, sha256 FROM images WHERE image IN ({_marks(part)})", part)
        }

    def numbers_of(self, product_id: str, dataset: str | None = None) -> list[int]:
        """Return the numbers of the products with this id, in one dataset or in all."""
        sql = "SELECT number FROM products WHERE product_id = ? AND (? IS NULL OR dataset = ?) ORDER BY number"
        return [number for (number,) in self._select(sql, (product_id, dataset, dataset))]

    def attribute_counts(self) -> dict[str, dict[str, int]]:
        """Return, by what a filter may name, its values with their number of products, the most frequent first."""
        return {name: dict(values) for name, values in self._counts.items()}

    @cached_property
    def _counts(self) -> Mapping[str, Mapping[str, int]]:
        counts: dict[str, dict[str, int]] = {}
        for name, value, number in self._select(
            "SELECT name, value, num_products FROM attribute_values ORDER BY name, num_products DESC, value"
        ):
            counts.setdefault(name, {})[value] = number
        return counts

    def resolve(self, filters: Filters) -> dict[str, tuple[str, ...]]:
        """Return filters with the values as the catalog writes them. Case is ignored.

        Raises:
            UserError: no product has an attribute of this name, or no product has this value.
        """
        counts = self._counts if filters else {}
        resolved = {}
        for name, wanted in filters.items():
            if name not in counts:
                raise UserError(f"no attribute {name!r} to filter by; the catalog has {_named(name, counts)}")
            values = tuple(wanted) if isinstance(wanted, list | tuple | set | frozenset) else (wanted,)
            if not values or not all(isinstance(value, str) for value in values):
                raise UserError(f"the filter {name} needs one text or several, not {wanted!r}")
            spellings: dict[str, list[str]] = {value.strip().casefold(): [] for value in values}
            for value in counts[name]:
                if value.strip().casefold() in spellings:
                    spellings[value.strip().casefold()].append(value)
            for value in values:
                if not spellings[value.strip().casefold()]:
                    raise UserError(f"no product has {name} = {value!r}; values are {_named(value, counts[name])}")
            resolved[name] = tuple(spelling for found in spellings.values() for spelling in found)
        return resolved

    def matching(self, filters: Mapping[str, Sequence[str]], num_products: int) -> NDArray[np.bool_]:
        """Return which products have, for each filter, one of its values (from `resolve`): bool [num_products]."""
        result = np.ones(num_products, bool)
        for name, values in filters.items():
            found = np.zeros(num_products, bool)
            for value in values:
                sql = (
                    "SELECT products FROM value_products WHERE id = "
                    "(SELECT id FROM attribute_values WHERE name = ? AND value = ?)"
                )
                for (numbers,) in self._select(sql, (name, value)):
                    found[np.frombuffer(numbers, NUMBER)] = True
            result &= found
        return result

    def values_and_products(self) -> tuple[list[tuple[str, str]], list[NDArray[np.int32]]]:
        """Return the (attribute, value) pairs, and the numbers of the products that have each."""
        rows = self._select(
            "SELECT name, value, products FROM attribute_values NATURAL JOIN value_products ORDER BY id"
        )
        pairs = [(name, value) for name, value, _ in rows]
        return pairs, [np.frombuffer(products, NUMBER) for *_, products in rows]

    def word_ranking(self, text: str) -> Ints:
        """Return the numbers of the products that contain a word of `text`, the best match (BM25) first."""
        words = re.findall(r"\w+", text)
        if not words:
            return np.empty(0, np.int64)
        query = " OR ".join(f'"{word}"' for word in dict.fromkeys(words))
        rows = self._select("SELECT rowid FROM words WHERE words MATCH ? ORDER BY rank, rowid", (query,))
        return np.fromiter((number for (number,) in rows), np.int64)

    def _select(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple]:
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"{self._path} is damaged ({error}); go back with `fclip index --rollback`, or run `fclip publish`"
            ) from error


def _parts(numbers: Iterable[int]) -> Iterator[list[int]]:
    listed = [int(number) for number in numbers]
    for start in range(0, len(listed), MAX_VARIABLES):
        yield listed[start : start + MAX_VARIABLES]


def _marks(part: Sequence[int]) -> str:
    return ", ".join("?" * len(part))


def _named(wanted: str, known: Iterable[str]) -> str:
    """Return the known names or values for an error: those similar to `wanted` if there are many."""
    listed = list(known)
    if len(listed) > MAX_NAMED:
        folded = {name.casefold(): name for name in reversed(listed)}
        similar = difflib.get_close_matches(wanted.casefold(), folded, n=MAX_NAMED, cutoff=0.5)
        shown = [folded[name] for name in similar] or listed[:MAX_NAMED]
        return f"{', '.join(shown)} and {len(listed) - len(shown):,} more"
    return ", ".join(listed) or "none"

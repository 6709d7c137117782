"""Captions with a cache equal those without one, and only products that changed are captioned."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from fclip.captions.build import build_captions, make_captions
from fclip.captions.cache import caption_cache
from fclip.captions.config import CaptionConfig, CaptionSettings, CaptionTemplates
from fclip.captions.table import write_captions
from fclip.catalog.tables import PRODUCTS

LENGTH = 9
Product = tuple[str, str, str]  # id, colour, title
CATALOG: list[Product] = [
    ("p0", "red", "red coat"),  # its title repeats another caption
    ("p1", "", "a <b>very</b> long title of many words that does not fit the context of the model"),
    ("p2", "blue", "free shipping! blue jeans"),
    ("p3", "", "free shipping!"),
    ("p4", "red", "red coat"),
]
CHANGES: dict[str, Callable[[list[Product]], list[Product]]] = {
    "nothing": list,
    "changed": lambda rows: [rows[0], ("p1", "red", "another title"), *rows[2:]],
    "new": lambda rows: [*rows, ("p9", "green", "green shirt"), ("p10", "green", "free returns! green shirt")],
    "deleted": lambda rows: rows[2:],
    "another order": lambda rows: rows[::-1],
    "all deleted": lambda rows: [],
}


def config(short: str | None = "{colour}") -> CaptionConfig:
    templates = CaptionTemplates(title="{title}", attributes="{colour} coat", short=short, head="colour")
    return CaptionConfig(settings=CaptionSettings(), datasets={"shop": templates})


def table(rows: Sequence[Product]) -> pa.Table:
    values = [
        {
            "product_id": product_id,
            "group_id": product_id,
            "split": "train",
            "attributes": [("colour", colour)] if colour else [],
            "texts": [("title", title)],
            "images": [],
        }
        for product_id, colour, title in rows
    ]
    return pa.Table.from_pylist(values, schema=PRODUCTS)


class Shop:
    """Builds captions with and without the cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "cache" / "shop.parquet"
        self.model = folder / "model"
        (self.model / "tokenizer").mkdir(parents=True)
        self.set_tokenizer("{}")
        text_cfg = {"context_length": LENGTH, "hf_tokenizer_name": "tokenizer"}
        model_cfg = {"embed_dim": 8, "vision_cfg": {}, "text_cfg": text_cfg}
        values = {"model_cfg": model_cfg, "preprocess_cfg": {}}
        (self.model / "open_clip_config.json").write_text(json.dumps(values))

    def set_tokenizer(self, text: str) -> None:
        (self.model / "tokenizer" / "tokenizer.json").write_text(text)

    def written(self, rows: Sequence[Product], section: CaptionConfig, *, cached: bool) -> tuple[bytes, int]:
        """Return the file of captions, and the number of products that were captioned."""
        made: list[int] = []
        known = caption_cache(self.path, section, "shop", self.model)

        def reuse(products: pa.Table, make: Callable[[pa.Table], pa.Table]) -> pa.Table:
            def counted(products: pa.Table) -> pa.Table:
                made.append(len(products))
                return make(products)

            return known(products, counted) if cached else counted(products)

        captions = build_captions(
            table(rows), section, "shop", count_tokens=count_words, context_length=LENGTH, reuse=reuse
        )
        write_captions(self.folder / "captions.parquet", captions)
        return (self.folder / "captions.parquet").read_bytes(), sum(made)


def count_words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) + 2 for text in texts]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.mark.parametrize("change", CHANGES)
def test_bytes_are_those_of_a_pass_without_the_cache(shop: Shop, change: str) -> None:
    section = config()
    assert shop.written(CATALOG, section, cached=True)[0] == shop.written(CATALOG, section, cached=False)[0]
    rows = CHANGES[change](CATALOG)
    content, number = shop.written(rows, section, cached=True)
    assert content == shop.written(rows, section, cached=False)[0]
    assert number == len({row[1:] for row in rows} - {row[1:] for row in CATALOG})
    assert shop.written(rows, section, cached=True) == (content, 0)


def test_another_template_or_tokenizer_makes_all_captions_again(shop: Shop) -> None:
    distinct = len({row[1:] for row in CATALOG})
    assert shop.written(CATALOG, config(), cached=True)[1] == distinct
    assert shop.written(CATALOG, config(short=None), cached=True)[1] == distinct
    assert shop.written(CATALOG, config(short=None), cached=True)[1] == 0
    shop.set_tokenizer("another")
    assert shop.written(CATALOG, config(short=None), cached=True)[1] == distinct


def test_a_damaged_cache_is_ignored(shop: Shop) -> None:
    content, _ = shop.written(CATALOG, config(), cached=True)
    shop.path.write_bytes(shop.path.read_bytes()[:-20])
    assert shop.written(CATALOG, config(), cached=True) == (content, len({row[1:] for row in CATALOG}))


def test_captions_of_a_product_do_not_depend_on_others() -> None:
    def make(rows: Sequence[Product]) -> list[dict]:
        return make_captions(table(rows), config(), "shop", count_tokens=count_words, context_length=LENGTH).to_pylist()

    assert make(CATALOG) == [made for row in CATALOG for made in make([row])]

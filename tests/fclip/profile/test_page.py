"""The page and the terminal output show a profile; the page is self-contained."""

import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from fclip.catalog.tables import PRODUCTS
from fclip.pages.wording import counted, number, percent
from fclip.profile.histogram import SHARE, distribution
from fclip.profile.page import read_refused, write_page
from fclip.profile.pictures import select_pictures
from fclip.profile.profile import Profile, ValueCounts
from fclip.profile.terminal import details, overview, sparkline
from tasks.workspace.paths import Workspace

VOID = {"meta", "img", "br", "hr", "path", "use", "rect", "circle"}


class Page(HTMLParser):
    """Checks that all tags are closed, and collects addresses, identifiers and words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.words = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "xlink:href"):
                self.addresses.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def written(shop: Workspace, profile: Profile, path: Path) -> str:
    write_page(
        profile,
        path,
        catalog_dir=shop.catalog("studio"),
        images_dir=shop.images("studio"),
        workspace="shop",
        roles={"train": "train", "val": "select"},
    )
    return path.read_text(encoding="utf-8")


def test_page_is_self_contained(shop: Workspace, studio: Profile, tmp_path: Path) -> None:
    text = written(shop, studio, tmp_path / "studio.html")
    page = Page(text)
    external = [a for a in page.addresses if not a.startswith(("data:image/webp;base64,", "#"))]
    assert set(external) == {"../report.html"}
    assert not re.search(r"<script|<link|@import|url\((?!#)", text)
    assert len(page.ids) == len(set(page.ids))
    words = " ".join(page.words.split())
    for text_part in (
        "studio: 66 products with 80 images",
        "3 of 69 rows refused (4.3 %).",
        "No group of near-duplicates or variants is in more than one split.",
        "hold-out",
        "row 900, product studio-bad-900",
        "mojibake in title",
        "cafÃ© → café",
        "context of 16 tokens",
        "4 classes by colour",
        "Every product is a separate group.",
    ):
        assert text_part in words, text_part
    assert page.addresses.count("../report.html") == 1
    assert sum(a.startswith("data:") for a in page.addresses) == 60 + 4 * 8
    assert text == written(shop, studio, tmp_path / "again.html")


def test_names_are_escaped(shop: Workspace, studio: Profile, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>[/red]\x1b[2J"
    profile = replace(
        studio,
        classes={**studio.classes, evil: {"train": 3}},
        attributes={**studio.attributes, "brand": ValueCounts(1, 0, 0, {evil: 66})},
        refused_by_reason={evil: 3},
    )
    text = written(shop, profile, tmp_path / "evil.html")
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    shown = terminal(profile)
    assert "<script>alert(1)</script>[/red]" in shown
    assert "\x1b" not in shown


def test_pictures_are_selected_from_the_catalog(shop: Workspace) -> None:
    pictures = select_pictures(shop.catalog("studio"), shop.images("studio"), label="colour")
    assert {row.title for row in pictures.classes} == {"red", "green", "blue", "grey"}
    assert all(row.title in picture.title for row in pictures.classes for picture in row.pictures)
    assert len({picture.source for picture in pictures.sheet}) == 60
    assert pictures.groups == ()
    assert select_pictures(shop.catalog("studio"), shop.images("studio"), label=None).classes == ()


def test_largest_groups_come_first(shop: Workspace, tmp_path: Path) -> None:
    rows = pq.read_table(shop.catalog("studio") / "products.parquet").to_pylist()
    for i, row in enumerate(rows):
        row["group_id"] = f"group {len(str(i * i))}" if i < 20 else row["product_id"]
    pq.write_table(pa.Table.from_pylist(rows, schema=PRODUCTS), tmp_path / "products.parquet")
    groups = select_pictures(tmp_path, shop.images("studio"), label=None).groups
    assert [row.note for row in groups] == ["10 products in train", "6 products in train", "4 products in train"]
    assert [len(row.pictures) for row in groups] == [8, 6, 4]
    assert [row.title for row in groups] == ["blue number 5", "red number 2", "red number 0"]


def test_refused_rows_are_counted_by_reason(shop: Workspace) -> None:
    refused = read_refused(shop.catalog("studio") / "quarantine.parquet")
    assert [(r.reason, r.num, r.detail) for r in refused] == [
        ("truncated image", 2, "ends after 9 bytes"),
        ("no image", 1, ""),
    ]


def terminal(profile: Profile) -> str:
    console = Console(width=100, color_system=None, file=io.StringIO())
    console.print(overview([profile]), details(profile))
    return str(console.file.getvalue())


def test_terminal_output_fits_100_columns(studio: Profile) -> None:
    shown = terminal(studio)
    assert max(map(len, shown.splitlines())) <= 100
    for text_part in ("66 products with 80 distinct images",
                 "train 30 (45.5 %) · val 24", "denim 12", "truncated image 2",
                 "4 classes by colour", "none in more than one split", "tokens of 16"):  # fmt: skip
        assert text_part in shown, text_part
    assert "IN MORE THAN ONE SPLIT" in terminal(replace(studio, num_groups_across_splits=2))
    unseen = replace(studio, classes={"red": {"train": 60}, "teal": {"val": 6}})
    assert "in val or test but not in train: teal" in terminal(unseen)


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0, "0 %"), (1, "100 %"), (0.0001, "< 0.1 %"), (0.176, "17.6 %"), (0.99999, "> 99.9 %")],
)
def test_shares_are_never_rounded_to_none_or_all(share: float, expected: str) -> None:
    assert percent(share) == expected


def test_numbers_and_plurals_are_formatted() -> None:
    assert [number(x) for x in (None, 3.0, 0.126, 12.345, 12345.6)] == ["–", "3", "0.13", "12.3", "12,346"]
    assert [counted(1, "class"), counted(2, "class"), counted(1200, "image")] == [
        "1 class",
        "2 classes",
        "1,200 images",
    ]


def test_sparkline_shows_every_bin_that_is_not_empty() -> None:
    found = distribution(np.array([0.01] * 1000 + [0.51]), SHARE)
    assert sparkline(found) == "█" + " " * 9 + "▁" + " " * 9
    assert sparkline(distribution(np.empty(0), SHARE)) == ""

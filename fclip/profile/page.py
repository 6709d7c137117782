"""The page of a catalog: one HTML file with pictures, to review the catalog before training."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fclip.files import atomic_write
from fclip.pages.html import environment
from fclip.pages.wording import percent
from fclip.profile.classes import class_balance
from fclip.profile.derived import DerivedFolder, DerivedSheet, derived_sheets
from fclip.profile.histogram import Distribution, format_range
from fclip.profile.measure import SPLITS, ordered_splits
from fclip.profile.pictures import OF_A_GROUP, PagePictures, select_pictures
from fclip.profile.plots import bar_chart
from fclip.profile.profile import Profile

EXAMPLE_CHARACTERS = 160
CLASS_ROWS = 24
IMAGE_TITLES = {
    "short_side": "Shorter side in the source, pixels",
    "aspect_ratio": "Width / height",
    "kibibytes": "Stored size, KiB",
    "brightness": "Brightness",
    "contrast": "Contrast",
    "saturation": "Saturation",
    "white_border": "White border",
}
IMAGE_NOTES = {
    "brightness": "mean luminance, 0 to 1",
    "contrast": "standard deviation of luminance, 0 to 1",
    "saturation": "mean saturation, 0 to 1",
    "white_border": "share of near-white pixels at the edge",
}


@dataclass(frozen=True)
class HistogramPlot:
    """A histogram with a title and a note."""

    title: str
    note: str
    svg: str


@dataclass(frozen=True)
class RefusalExample:
    """The number of rows that were refused for one reason, and the first of them."""

    stage: str
    reason: str
    num: int
    source_row: int
    product_id: str | None
    detail: str


@dataclass(frozen=True)
class RepairExample:
    """The number of cells with one kind of repair, and the first of them."""

    what: str
    num: int
    product_id: str
    before: str
    after: str


def write_page(
    profile: Profile,
    path: Path,
    *,
    catalog_dir: Path,
    images_dir: Path,
    workspace: str,
    roles: Mapping[str, str],
    derived: Sequence[DerivedFolder] = (),
) -> Path:
    """Write the page of `profile` to `path` and return `path`.

    The page has no scripts and needs no other file; its only link leads to the report.

    Args:
        roles: role of each split in params.yaml.
        derived: the datasets that are made of this one.

    Raises:
        UserError: the dataset's images do not exist.
    """
    pictures = select_pictures(catalog_dir, images_dir, label=profile.label)
    refused, repaired = read_refused(catalog_dir / "quarantine.parquet"), read_repaired(catalog_dir / "repairs.parquet")
    copies = derived_sheets(derived, catalog_dir=catalog_dir, images_dir=images_dir)
    atomic_write(path, render(profile, pictures, refused, repaired, workspace=workspace, roles=roles, derived=copies))
    return path


def render(
    profile: Profile,
    pictures: PagePictures,
    refused: list[RefusalExample],
    repaired: list[RepairExample],
    *,
    workspace: str,
    roles: Mapping[str, str],
    derived: Sequence[DerivedSheet] = (),
) -> str:
    """Return the page as HTML. `refused`, `repaired` and `derived` belong to the catalog of `profile`."""
    pages = environment(Path(__file__).parent)
    pages.filters["range"] = format_range
    balance = class_balance(profile)
    return pages.get_template("catalog.html.j2").render(
        profile=profile,
        workspace=workspace,
        roles=roles,
        splits=ordered_splits(profile.splits),
        hold_outs=[name for name in ordered_splits(profile.splits) if name not in SPLITS],
        balance=balance,
        class_rows=CLASS_ROWS,
        of_a_group=OF_A_GROUP,
        refused=refused,
        repaired=repaired,
        pictures=pictures,
        texts=list(_text_plots(profile)),
        images=list(_image_plots(profile)),
        groups=list(_group_plots(profile)),
        derived=derived,
    )


def read_refused(path: Path) -> list[RefusalExample]:
    """Return the reasons of refused rows, the most frequent first, each with its first row."""
    table = pq.read_table(path, columns=["source_row", "product_id", "stage", "reason", "detail"])
    return [
        RefusalExample(
            stage=row["stage"],
            reason=row["reason"],
            num=num,
            source_row=row["source_row"],
            product_id=row["product_id"],
            detail=_shortened(row["detail"]),
        )
        for row, num in _first_of_each(table, ["stage", "reason"])
    ]


def read_repaired(path: Path) -> list[RepairExample]:
    """Return the kinds of repair by field, the most frequent first, each with its first cell."""
    table = pq.read_table(path)
    return [
        RepairExample(
            what=f"{row['what']} in {row['field']}",
            num=num,
            product_id=row["product_id"],
            before=_shortened(row["before"]),
            after=_shortened(row["after"]),
        )
        for row, num in _first_of_each(table, ["what", "field"])
    ]


def _first_of_each(table: pa.Table, keys: list[str]) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield (first row, number of rows) of each combination of `keys`, the most frequent first, then by `keys`."""
    numbered = table.append_column("index", pa.array(np.arange(table.num_rows)))
    counted = numbered.group_by(keys).aggregate([("index", "min"), ("index", "count")])
    order = [("index_count", "descending"), *((key, "ascending") for key in keys)]
    for row in counted.sort_by(order).to_pylist():
        yield table.slice(row["index_min"], 1).to_pylist()[0], row["index_count"]


def _shortened(text: str) -> str:
    return text if len(text) <= EXAMPLE_CHARACTERS else f"{text[:EXAMPLE_CHARACTERS]}…"


def _text_plots(profile: Profile) -> Iterator[HistogramPlot]:
    for kind, captions in profile.captions.items():
        note = format_range(captions.tokens) + " tokens"
        note += f"; {percent(captions.num_truncated / captions.tokens.num)} shortened to the context"
        yield HistogramPlot(
            f"Captions: {kind}", note, bar_chart(f"tokens-{kind}", captions.tokens, mark=profile.context_length)
        )
    for name, text in profile.texts.items():
        yield HistogramPlot(
            f"Text: {name}",
            f"{format_range(text.characters)} characters",
            bar_chart(f"characters-{name}", text.characters),
        )


def _image_plots(profile: Profile) -> Iterator[HistogramPlot]:
    for name, measured in profile.images.items():
        notes = [IMAGE_NOTES[name]] if name in IMAGE_NOTES else []
        yield HistogramPlot(
            IMAGE_TITLES[name], "; ".join([format_range(measured), *notes]), bar_chart(f"image-{name}", measured)
        )


def _group_plots(profile: Profile) -> Iterator[HistogramPlot]:
    shown: tuple[tuple[str, Distribution], ...] = (
        ("Products per group", profile.group_sizes),
        ("Images per product", profile.images_per_product),
    )
    for title, sizes in shown:
        yield HistogramPlot(title, format_range(sizes), bar_chart(title.lower().replace(" ", "-"), sizes))

"""The page of a catalog: one HTML file with pictures, for a person to read before training on it."""

from collections.abc import Iterator, Mapping
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
from fclip.profile.histogram import Distribution, range_said
from fclip.profile.measure import SPLITS, in_order
from fclip.profile.pictures import OF_A_GROUP, Pictures, take_pictures
from fclip.profile.plots import bars
from fclip.profile.profile import Profile

EXAMPLE_CHARACTERS = 160
CLASS_ROWS = 24
IMAGE_TITLES = {
    "short_side": "Shorter side in the source, pixels",
    "aspect_ratio": "Width by height",
    "kibibytes": "Size as stored, KiB",
    "brightness": "Brightness",
    "contrast": "Contrast",
    "saturation": "Saturation",
    "white_border": "White border",
}
IMAGE_NOTES = {
    "brightness": "mean luminance, 0 to 1",
    "contrast": "deviation of luminance, 0 to 1",
    "saturation": "mean, 0 to 1",
    "white_border": "share of the outermost pixels that is near white",
}


@dataclass(frozen=True)
class Plot:
    """A histogram with what it is of and, below it, what it says in words."""

    title: str
    note: str
    svg: str


@dataclass(frozen=True)
class Refused:
    """Rows refused for one reason, and the first of them."""

    stage: str
    reason: str
    num: int
    source_row: int
    product_id: str | None
    detail: str


@dataclass(frozen=True)
class Repaired:
    """Cells repaired in one way, and the first of them."""

    what: str
    num: int
    product_id: str
    before: str
    after: str


def write_page(
    profile: Profile, path: Path, *, catalog_dir: Path, images_dir: Path, workspace: str, roles: Mapping[str, str]
) -> Path:
    """Write the page of `profile` to `path`: self-contained, no script, no address but the report's. Returns `path`.

    Args:
        roles: split -> its role in params.yaml.

    Raises:
        UserError: the dataset's images are not there.
    """
    pictures = take_pictures(catalog_dir, images_dir, label=profile.label)
    refused, repaired = read_refused(catalog_dir / "quarantine.parquet"), read_repaired(catalog_dir / "repairs.parquet")
    atomic_write(path, render(profile, pictures, refused, repaired, workspace=workspace, roles=roles))
    return path


def render(
    profile: Profile,
    pictures: Pictures,
    refused: list[Refused],
    repaired: list[Repaired],
    *,
    workspace: str,
    roles: Mapping[str, str],
) -> str:
    """The page as text; `refused` and `repaired` are those of the catalog that `profile` is of."""
    pages = environment(Path(__file__).parent)
    pages.filters["range"] = range_said
    balance = class_balance(profile)
    return pages.get_template("catalog.html.j2").render(
        profile=profile,
        workspace=workspace,
        roles=roles,
        splits=in_order(profile.splits),
        hold_outs=[name for name in in_order(profile.splits) if name not in SPLITS],
        balance=balance,
        class_rows=CLASS_ROWS,
        of_a_group=OF_A_GROUP,
        refused=refused,
        repaired=repaired,
        pictures=pictures,
        texts=list(_text_plots(profile)),
        images=list(_image_plots(profile)),
        groups=list(_group_plots(profile)),
    )


def read_refused(path: Path) -> list[Refused]:
    """Each reason that rows were refused for, the most frequent first, with its first row as an example."""
    table = pq.read_table(path, columns=["source_row", "product_id", "stage", "reason", "detail"])
    return [
        Refused(
            stage=row["stage"],
            reason=row["reason"],
            num=num,
            source_row=row["source_row"],
            product_id=row["product_id"],
            detail=_shortened(row["detail"]),
        )
        for row, num in _first_of_each(table, ["stage", "reason"])
    ]


def read_repaired(path: Path) -> list[Repaired]:
    """Each kind of repair of each field, the most frequent first, with its first cell as an example."""
    table = pq.read_table(path)
    return [
        Repaired(
            what=f"{row['what']} in {row['field']}",
            num=num,
            product_id=row["product_id"],
            before=_shortened(row["before"]),
            after=_shortened(row["after"]),
        )
        for row, num in _first_of_each(table, ["what", "field"])
    ]


def _first_of_each(table: pa.Table, keys: list[str]) -> Iterator[tuple[dict[str, Any], int]]:
    """(first row, number of rows) of each combination of `keys`, the most frequent first, by `keys` where even."""
    numbered = table.append_column("place", pa.array(np.arange(table.num_rows)))
    counted = numbered.group_by(keys).aggregate([("place", "min"), ("place", "count")])
    order = [("place_count", "descending"), *((key, "ascending") for key in keys)]
    for row in counted.sort_by(order).to_pylist():
        yield table.slice(row["place_min"], 1).to_pylist()[0], row["place_count"]


def _shortened(text: str) -> str:
    return text if len(text) <= EXAMPLE_CHARACTERS else f"{text[:EXAMPLE_CHARACTERS]}…"


def _text_plots(profile: Profile) -> Iterator[Plot]:
    for kind, captions in profile.captions.items():
        note = range_said(captions.tokens) + " tokens"
        note += f"; {percent(captions.num_truncated / captions.tokens.num)} shortened to the context"
        yield Plot(f"Captions: {kind}", note, bars(f"tokens-{kind}", captions.tokens, mark=profile.context_length))
    for name, text in profile.texts.items():
        yield Plot(
            f"Text: {name}", f"{range_said(text.characters)} characters", bars(f"characters-{name}", text.characters)
        )


def _image_plots(profile: Profile) -> Iterator[Plot]:
    for name, found in profile.images.items():
        notes = [IMAGE_NOTES[name]] if name in IMAGE_NOTES else []
        yield Plot(IMAGE_TITLES[name], "; ".join([range_said(found), *notes]), bars(f"image-{name}", found))


def _group_plots(profile: Profile) -> Iterator[Plot]:
    shown: tuple[tuple[str, Distribution], ...] = (
        ("Products a group", profile.group_sizes),
        ("Images a product", profile.images_per_product),
    )
    for title, found in shown:
        yield Plot(title, range_said(found), bars(title.lower().replace(" ", "-"), found))

"""Contact sheets of derived datasets, for the page of the catalog that they are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fclip.pages.html import thumbnails
from fclip.profile.pictures import CatalogPicture
from fclip.shifts.counts import DerivedCounts, read_counts

PAIRS = 12


@dataclass(frozen=True)
class DerivedFolder:
    """A derived dataset: its name, what its shift does in a sentence, and its folder."""

    dataset: str
    description: str
    path: Path


@dataclass(frozen=True)
class DerivedSheet:
    """The counts of a derived dataset, and pairs of an original picture and its changed copy."""

    dataset: str
    description: str
    counts: DerivedCounts
    pairs: tuple[tuple[CatalogPicture, CatalogPicture], ...]


def derived_sheets(
    derived: Sequence[DerivedFolder], *, catalog_dir: Path, images_dir: Path
) -> tuple[DerivedSheet, ...]:
    """Return a sheet for each derived dataset, with the products whose copies have the smallest digests.

    Args:
        catalog_dir, images_dir: of the original dataset.

    Raises:
        UserError: the images of a dataset do not exist.
    """
    return tuple(_sheet(each, catalog_dir, images_dir) for each in derived)


def _sheet(derived: DerivedFolder, catalog_dir: Path, images_dir: Path) -> DerivedSheet:
    copies = pq.read_table(derived.path / "products.parquet", columns=["product_id", "images"]).to_pylist()
    shown = sorted(copies, key=lambda row: (row["images"][0], row["product_id"]))[:PAIRS]
    copy_of = {row["product_id"]: row["images"][0] for row in shown}
    originals = pq.read_table(catalog_dir / "products.parquet", columns=["product_id", "texts", "images"])
    originals = originals.filter(pc.is_in(originals["product_id"], pa.array(list(copy_of), pa.string())))
    rows = {row["product_id"]: row for row in originals.to_pylist()}
    before = thumbnails(images_dir, [row["images"][0] for row in rows.values()])
    after = thumbnails(derived.path / "images", copy_of.values())
    pairs = []
    for product_id, copy in copy_of.items():
        row = rows[product_id]
        title = dict(row["texts"]).get("title") or product_id
        pairs.append((CatalogPicture(before[row["images"][0]], title), CatalogPicture(after[copy], title)))
    return DerivedSheet(derived.dataset, derived.description, read_counts(derived.path), tuple(pairs))

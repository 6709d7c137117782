"""Make a derived dataset: changed copies of the held-out products of another dataset, in the ordinary catalog form."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from fclip.catalog.tables import PRODUCTS, read_products
from fclip.evaluation.catalog import DatasetFiles, read_catalog
from fclip.files import atomic_dir, sha256_bytes
from fclip.images.packs import ImagePacks, PackWriter, StoredImage
from fclip.images.pixels import read_image
from fclip.progress import progress
from fclip.shifts.counts import COUNTS, DerivedCounts, SplitCounts, write_counts
from fclip.shifts.kinds.registry import ShiftConfig, shift_kinds

logger = logging.getLogger(__name__)
MIN_PARALLEL = 150
"""Pictures; changing fewer takes less time than starting processes."""
CHUNK = 8


def derive(
    name: str, shift: ShiftConfig, original: DatasetFiles, *, max_items: int | None, seed: int, folder: Path
) -> DerivedCounts:
    """Write the products, image packs and counts of the derived dataset `name` into `folder`; return the counts.

    The products are those that evaluation takes from the splits of `original.roles`. Each keeps its id, group, split
    and attributes, and has one image: the changed copy of its first one. A copy depends on the seed, the shift and the
    bytes of the picture alone. If no copy can be made, the dataset is empty, and a warning says why.

    Args:
        original: the files of the original, with the roles of the splits to copy.
        max_items: the most products of a split that evaluation takes; None: all.

    Raises:
        UserError: a file of the original is missing or damaged.
    """
    kind = shift_kinds()[shift.kind]
    wanted = _products(original, max_items)
    images = ImagePacks([original.images])
    copies: dict[str, str] = {}  # image of the original -> image of the copy
    with atomic_dir(folder) as temporary:
        with PackWriter(temporary / "images") as packs:
            digests = sorted(set(wanted["image"].to_pylist()))
            changed = _changed(images, digests, shift, seed)
            for digest, content in progress(changed, label=f"Deriving {name}", total=len(digests), unit="images"):
                if content is not None:
                    copy = _stored(content)
                    packs.add(copy)
                    copies[digest] = copy.sha256
        products = _with_copies(wanted, copies)
        pq.write_table(products, temporary / "products.parquet", compression="zstd")
        if original.judgements.is_file():
            shutil.copyfile(original.judgements, temporary / original.judgements.name)
        counts = _counts(original, shift.kind, kind.refusal, wanted, products)
        write_counts(temporary / COUNTS, counts)
    for line in counts.lines(name):
        logger.info("%s", line)
    if problem := counts.problem:
        logger.warning("%s: %s", name, problem)
    return counts


def _products(original: DatasetFiles, max_items: int | None) -> pa.Table:
    """The rows of the products to copy, with the digest of their first image as one more column `image`."""
    catalog = read_catalog(original, with_captions=False)
    judged = {product_id for grades in catalog.judgements.values() for product_id in grades}
    taken = {product.product_id for split in original.roles for product in catalog.products_in(split, max_items)}
    taken |= {
        each.product_id for each in catalog.products if each.product_id in judged and each.split in original.roles
    }
    table = read_products(original.products.parent)
    table = table.filter(pc.is_in(table["product_id"], pa.array(sorted(taken), pa.string())))
    return table.append_column("image", pc.list_element(table["images"], 0))


def _changed(
    images: ImagePacks, digests: Sequence[str], shift: ShiftConfig, seed: int
) -> Iterator[tuple[str, bytes | None]]:
    """Yield each digest with its changed copy, or None if it cannot be made."""
    one = partial(_change, images, shift, seed)
    if len(digests) < MIN_PARALLEL:
        yield from zip(digests, map(one, digests), strict=True)
        return
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        yield from zip(digests, pool.map(one, digests, chunksize=CHUNK), strict=True)


def _change(images: ImagePacks, shift: ShiftConfig, seed: int, digest: str) -> bytes | None:
    return change(shift, read_image(images.read(digest)), seed=seed, digest=digest)


def change(shift: ShiftConfig, image: Image.Image, *, seed: int, digest: str) -> bytes | None:
    """Return the changed copy of the RGB image with this digest as the bytes of a JPEG; None if it cannot be made."""
    return shift_kinds()[shift.kind].make(shift, image, f"{seed}/{digest}")


def _stored(content: bytes) -> StoredImage:
    width, height = read_image(content).size
    return StoredImage(sha256_bytes(content), content, width, height)


def _with_copies(wanted: pa.Table, copies: Mapping[str, str]) -> pa.Table:
    """The products with a copy, which is their only image."""
    made = wanted.filter(pc.is_in(wanted["image"], pa.array(sorted(copies), pa.string())))
    images = pa.array([[copies[image]] for image in made["image"].to_pylist()], PRODUCTS.field("images").type)
    return made.drop_columns("image").set_column(PRODUCTS.names.index("images"), PRODUCTS.field("images"), images)


def _counts(
    original: DatasetFiles, kind: str, refusal: str | None, wanted: pa.Table, products: pa.Table
) -> DerivedCounts:
    all_, made = Counter(wanted["split"].to_pylist()), Counter(products["split"].to_pylist())
    splits = {
        split: SplitCounts(role, made[split], all_[split] - made[split]) for split, role in original.roles.items()
    }
    return DerivedCounts(original.name, kind, splits, refusal)

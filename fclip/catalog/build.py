"""Build a catalog: any source -> products, image packs, quarantine, counts."""

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fclip.catalog.config import DatasetConfig, ImageConfig
from fclip.catalog.images import load_image
from fclip.catalog.pin import verify_pin
from fclip.catalog.rows import Refusal, RefusedRow, SourceRow
from fclip.catalog.sources.registry import reader
from fclip.catalog.splits import group_id, split_of
from fclip.catalog.summary import IngestSummary, require_products, summarise
from fclip.catalog.tables import Product, write_products, write_quarantine
from fclip.catalog.validate import row_refusal
from fclip.files import atomic_dir, write_json
from fclip.images.packs import PackWriter, StoredImage
from fclip.mirror.outside import Outside
from fclip.progress import progress

logger = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")
ROWS_AHEAD = 16  # decoded ahead of the writer, a worker: bounds memory


@dataclass(frozen=True)
class _Accepted:
    row: SourceRow
    images: tuple[StoredImage, ...]


def build_catalog(
    config: DatasetConfig,
    image_config: ImageConfig,
    *,
    dataset: str,
    outside: Outside,
    pin: Mapping[str, object],
    catalog_dir: Path,
    images_dir: Path,
    limit: int | None,
) -> IngestSummary:
    """Write `products.parquet`, `quarantine.parquet` and `ingest.json` into `catalog_dir`, packs into `images_dir`.

    Every row of the source ends as a product or in quarantine with its reason. A row with a bad image is refused
    whole. The same source and configuration give the same bytes. Both folders appear whole, or stay as they were.

    Args:
        outside: where the source lies.
        pin: what the source was when it was last looked at (`fclip.catalog.pin`).
        limit: rows at most, spread over the source; None for all.

    Raises:
        UserError: the source is not there, lacks a column, is not as pinned, has no rows, or a split with a role
            is empty.
    """
    verify_pin(dataset, config.source, pin, outside=outside)
    rows = reader(config.source).read(config.source, outside, limit)
    num_rows = pin.get("num_rows")
    total = num_rows if isinstance(num_rows, int) else None
    if total is not None and limit is not None:
        total = min(total, limit)
    products: list[Product] = []
    refused: list[RefusedRow] = []
    with atomic_dir(images_dir) as images, atomic_dir(catalog_dir) as catalog:
        with PackWriter(images) as packs:
            decoded = _in_order(lambda row: _decoded(row, image_config), _validated(rows))
            num_read = 0
            for row in progress(decoded, label=f"ingest {dataset}", total=total, unit="rows"):
                num_read += 1
                if isinstance(row, RefusedRow):
                    refused.append(row)
                    continue
                products.append(_product(row, config))
                for image in row.images:
                    packs.add(image)
        products, leaks = _without_leaks(products)
        refused.extend(leaks)
        summary = summarise(dataset, num_rows=num_read, products=products, refused=refused)
        require_products(summary, config, refused)
        write_products(catalog / "products.parquet", products)
        write_quarantine(catalog / "quarantine.parquet", refused)
        write_json(catalog / "ingest.json", summary.to_json())
    _log(summary)
    return summary


def _validated(rows: Iterable[SourceRow | RefusedRow]) -> Iterator[SourceRow | RefusedRow]:
    first_rows: dict[str, int] = {}
    for row in rows:
        if isinstance(row, RefusedRow):
            yield row
            continue
        refusal = row_refusal(row, first_rows)
        if row.product_id is not None:
            first_rows.setdefault(row.product_id, row.source_row)
        yield row if refusal is None else _refuse(row, refusal)


def _decoded(row: SourceRow | RefusedRow, config: ImageConfig) -> _Accepted | RefusedRow:
    if isinstance(row, RefusedRow):
        return row
    stored: list[StoredImage] = []
    for image in row.images:
        assert not isinstance(image, Refusal)
        result = load_image(image, config)
        if isinstance(result, Refusal):
            return _refuse(row, result)
        stored.append(result)
    return _Accepted(row, tuple(stored))


def _product(accepted: _Accepted, config: DatasetConfig) -> Product:
    row = accepted.row
    assert row.product_id is not None
    group = group_id(product_id=row.product_id, parent_id=row.parent_id, texts=row.texts)
    return Product(
        source_row=row.source_row,
        product_id=row.product_id,
        group_id=group,
        split=row.split or split_of(group, config.split),
        attributes=row.attributes,
        texts=row.texts,
        images=tuple(dict.fromkeys(image.sha256 for image in accepted.images)),
        raw=row.raw,
    )


def _without_leaks(products: list[Product]) -> tuple[list[Product], list[RefusedRow]]:
    """Products without those of val and test that show an image that is also in train."""
    train = {image for product in products if product.split == "train" for image in product.images}
    kept: list[Product] = []
    leaks: list[RefusedRow] = []
    for product in products:
        shared = train.intersection(product.images) if product.split != "train" else set()
        if shared:
            refusal = Refusal("validate", "image also in train", f"image {min(shared)}, split {product.split}")
            leaks.append(RefusedRow(product.source_row, product.product_id, refusal, product.raw))
        else:
            kept.append(product)
    return kept, leaks


def _refuse(row: SourceRow, refusal: Refusal) -> RefusedRow:
    return RefusedRow(row.source_row, row.product_id, refusal, row.raw)


def _in_order(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """`function` of every item, in order, a few ahead on threads (Pillow decodes outside the interpreter's lock)."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > ROWS_AHEAD * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _log(summary: IngestSummary) -> None:
    splits = ", ".join(f"{split} {count}" for split, count in summary.splits.items())
    logger.info(
        "%s: %d rows: %d products (%s), %d images, %d refused",
        *(summary.dataset, summary.num_rows, summary.num_products, splits, summary.num_images, summary.num_refused),
    )
    for reason, count in summary.refused_by_reason.items():
        logger.info("  refused: %s: %d", reason, count)

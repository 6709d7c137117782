"""Build a catalog: any source -> products, images, quarantine, counts."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fclip.catalog.config import IngestConfig, JudgementsConfig
from fclip.catalog.image_store import ImageStore
from fclip.catalog.judgements import read_judgements, write_judgements
from fclip.catalog.pin import SourcePin, verify_pin
from fclip.catalog.products import ProductColumns, Products
from fclip.catalog.repair import Repair, repair_row
from fclip.catalog.row_images import RowImages
from fclip.catalog.rows import RefusedRow, SourceRow, refuse
from fclip.catalog.sources.registry import at_pin, read
from fclip.catalog.split_assignment import SplitAssignment, assign_splits
from fclip.catalog.summary import IngestSummary, require_few_refused, require_products, summarise
from fclip.catalog.validate import RowRules
from fclip.catalog.write import write_images, write_products, write_quarantine, write_repairs
from fclip.files import atomic_dir, link_or_copy, write_json
from fclip.images.packs import PackWriter, pack_digests
from fclip.mirror.source_access import SourceAccess
from fclip.progress import progress

logger = logging.getLogger(__name__)


def build_catalog(
    config: IngestConfig,
    *,
    dataset: str,
    outside: SourceAccess,
    pin: SourcePin | None,
    catalog_dir: Path,
    images_dir: Path,
    cache_dir: Path | None = None,
) -> IngestSummary:
    """Write the tables of `dataset` and `ingest.json` into `catalog_dir`, image packs into `images_dir`.

    Every row of the source ends as a product or in quarantine with its reason. A row with a bad image is refused
    whole. The same source and configuration give the same catalog, byte for byte, whatever was ingested before; packs
    are those of earlier runs, unchanged, and new ones for what is new. Both folders appear whole, or stay as they were.

    Args:
        outside: where the source lies.
        pin: what the source was when it was last looked at; None: it is not pinned, which is refused.
        cache_dir: what earlier ingests of the dataset left, so that only new images are decoded; may be deleted.

    Raises:
        UserError: the source is not there, lacks a column, is not as pinned, has no rows, too many of them are
            refused, or a split with a role is empty.
    """
    own = config.datasets[dataset]
    facts = pin.facts if pin else {}
    source = at_pin(own.source, facts)
    outside = replace(outside, pinned=facts)
    verify_pin(dataset, own, source, pin, outside=outside)
    store = ImageStore(None if cache_dir is None else cache_dir / "images", config.image)
    rows = read(source, outside, config.limit)
    repairs: list[Repair] = []
    refused: list[RefusedRow] = []
    columns = ProductColumns()
    with atomic_dir(images_dir) as images, atomic_dir(catalog_dir) as catalog:
        for pack in store.packs:
            link_or_copy(pack, images / pack.name)
        stored = [digest for pack in store.packs for digest in pack_digests(pack)]
        with PackWriter(images, stored=stored) as packs:
            checked = _checked(rows, RowRules(config.rows, own.types), repairs, config.rows.max_text_chars)
            taken = RowImages(store, packs, outside.digests, config.image).accepted(checked)
            total = _total(facts, config.limit)
            num_read = 0
            for row in progress(taken, label=f"ingest {dataset}", total=total, unit="rows"):
                num_read += 1
                if isinstance(row, RefusedRow):
                    refused.append(row)
                else:
                    columns.add(*row)
        require_few_refused(dataset, num_read, refused, config.rows, keep=_quarantine_path(cache_dir))
        products, respelled = columns.finish().respelled()
        repairs += respelled
        sides = assign_splits(products, store, config, dataset)
        refused += sides.leaks
        if repairs:
            kept = set(products.table["product_id"].take(pa.array(sides.kept)).to_pylist())
            repairs = [repair for repair in repairs if repair.product_id in kept]
        summary = summarise(
            dataset, num_rows=num_read, products=products, sides=sides, refused=refused, repairs=repairs
        )
        require_products(summary, own)
        _write(catalog, products, store, sides, refused, repairs)
        judged = {} if own.judgements is None else {"judgements": _score(own.judgements, outside, catalog)}
        write_json(catalog / "ingest.json", {**summary.to_json(), **judged})
        store.save(sorted(images.glob("pack-*.parquet")))
        outside.digests.save()
    for line in summary.lines():
        logger.info("%s", line)
    return summary


def _checked(
    rows: Iterable[SourceRow | RefusedRow], rules: RowRules, repairs: list[Repair], max_chars: int
) -> Iterator[SourceRow | RefusedRow]:
    for row in rows:
        if isinstance(row, RefusedRow):
            yield refuse(row, row.refusal)
            continue
        mended, done = repair_row(row, max_chars=max_chars)
        refusal = rules.refusal(mended)
        if refusal is None:
            repairs.extend(done)
        yield mended if refusal is None else refuse(row, refusal)


def _write(
    folder: Path,
    products: Products,
    store: ImageStore,
    sides: SplitAssignment,
    refused: Sequence[RefusedRow],
    repairs: Sequence[Repair],
) -> None:
    facts = store.facts()
    digests = pa.array(facts.hex_digests(), pa.string())
    write_products(folder / "products.parquet", products, sides, digests=digests)
    numbers = sides.image_numbers(products)
    _, first = np.unique(facts.image_sha256[numbers], return_index=True)
    write_images(folder / "images.parquet", facts.take(numbers[first]))
    write_quarantine(folder / "quarantine.parquet", refused)
    write_repairs(folder / "repairs.parquet", repairs)


def _score(config: JudgementsConfig, outside: SourceAccess, catalog: Path) -> dict[str, object]:
    """Take in the judgements about the products that were written."""
    ids = pq.read_table(catalog / "products.parquet", columns=["product_id"])["product_id"].to_pylist()
    judgements = read_judgements(config, outside, frozenset(ids))
    write_judgements(judgements, catalog / "judgements.parquet")
    said = judgements.to_json()
    logger.info("judgements: %s", ", ".join(f"{name} {value}" for name, value in said.items()))
    return said


def _total(facts: Mapping[str, object], limit: int | None) -> int | None:
    num_rows = facts.get("num_rows")
    if not isinstance(num_rows, int):
        return None
    return num_rows if limit is None else min(num_rows, limit)


def _quarantine_path(cache_dir: Path | None) -> Path | None:
    return None if cache_dir is None else cache_dir / "refused.parquet"

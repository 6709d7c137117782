"""Build the catalog of one dataset from its source: products, images, quarantine, repairs, counts."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fclip.catalog.config import IngestConfig, JudgementsConfig
from fclip.catalog.image_importer import ImageImporter
from fclip.catalog.image_store import ImageStore
from fclip.catalog.judgements import read_judgements, write_judgements
from fclip.catalog.pin import SourcePin, verify_pin
from fclip.catalog.products import ProductColumns, Products
from fclip.catalog.repair import Repair, repair_row
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
    access: SourceAccess,
    pin: SourcePin | None,
    catalog_dir: Path,
    images_dir: Path,
    cache_dir: Path | None = None,
) -> IngestSummary:
    """Write the tables of `dataset` and `ingest.json` into `catalog_dir`, image packs into `images_dir`.

    Every row of the source becomes a product or goes to quarantine with its reason. One bad image refuses the whole
    row. The same source and configuration give the same catalog, byte for byte, whatever was ingested before. The packs
    of earlier runs are kept unchanged; new images go to new packs. Both folders are replaced whole, or stay unchanged.

    Args:
        access: how the files of the source are reached.
        pin: the facts of the source at its last pinning; None if it is not pinned, which is an error.
        cache_dir: the cache of earlier ingests of the dataset, so that only new images are decoded. It may be deleted.

    Raises:
        UserError: the source is missing, lacks a column, differs from its pin or has no rows; too many rows are
            refused; or a split with a role is empty.
    """
    dataset_config = config.datasets[dataset]
    facts = pin.facts if pin else {}
    source = at_pin(dataset_config.source, facts)
    access = replace(access, pinned=facts)
    verify_pin(dataset, dataset_config, source, pin, access=access)
    store = ImageStore(None if cache_dir is None else cache_dir / "images", config.settings.image)
    rows = read(source, access, config.settings.limit)
    repairs: list[Repair] = []
    refused: list[RefusedRow] = []
    columns = ProductColumns()
    with atomic_dir(images_dir) as images, atomic_dir(catalog_dir) as catalog:
        for pack in store.packs:
            link_or_copy(pack, images / pack.name)
        stored = [digest for pack in store.packs for digest in pack_digests(pack)]
        with PackWriter(images, stored=stored) as packs:
            checked = _repaired_and_checked(
                rows, RowRules(config.settings.rows, dataset_config.types), repairs, config.settings.rows.max_text_chars
            )
            imported = ImageImporter(store, packs, access.digests, config.settings.image).import_images(checked)
            total = _expected_rows(facts, config.settings.limit)
            num_read = 0
            for row in progress(imported, label=f"Ingesting {dataset}", total=total, unit="rows"):
                num_read += 1
                if isinstance(row, RefusedRow):
                    refused.append(row)
                else:
                    columns.add(*row)
        require_few_refused(dataset, num_read, refused, config.settings.rows, keep=_quarantine_path(cache_dir))
        products, spelling_repairs = columns.finish().with_unified_spellings()
        repairs += spelling_repairs
        assignment = assign_splits(products, store, config, dataset)
        refused += assignment.leaks
        if repairs:
            kept = set(products.table["product_id"].take(pa.array(assignment.kept)).to_pylist())
            repairs = [repair for repair in repairs if repair.product_id in kept]
        summary = summarise(
            dataset, num_rows=num_read, products=products, assignment=assignment, refused=refused, repairs=repairs
        )
        require_products(summary, dataset_config)
        _write(catalog, products, store, assignment, refused, repairs)
        judgements = dataset_config.judgements
        judgement_counts = {} if judgements is None else {"judgements": _write_judgements(judgements, access, catalog)}
        write_json(catalog / "ingest.json", {**summary.to_json(), **judgement_counts})
        store.save(sorted(images.glob("pack-*.parquet")))
        access.digests.save()
    for line in summary.lines():
        logger.info("%s", line)
    return summary


def _repaired_and_checked(
    rows: Iterable[SourceRow | RefusedRow], rules: RowRules, repairs: list[Repair], max_chars: int
) -> Iterator[SourceRow | RefusedRow]:
    for row in rows:
        if isinstance(row, RefusedRow):
            yield refuse(row, row.refusal)
            continue
        repaired, row_repairs = repair_row(row, max_chars=max_chars)
        refusal = rules.refusal(repaired)
        if refusal is None:
            repairs.extend(row_repairs)
        yield repaired if refusal is None else refuse(row, refusal)


def _write(
    folder: Path,
    products: Products,
    store: ImageStore,
    assignment: SplitAssignment,
    refused: Sequence[RefusedRow],
    repairs: Sequence[Repair],
) -> None:
    facts = store.facts()
    digests = pa.array(facts.hex_digests(), pa.string())
    write_products(folder / "products.parquet", products, assignment, digests=digests)
    numbers = assignment.image_numbers(products)
    _, first = np.unique(facts.image_sha256[numbers], return_index=True)
    write_images(folder / "images.parquet", facts.take(numbers[first]))
    write_quarantine(folder / "quarantine.parquet", refused)
    write_repairs(folder / "repairs.parquet", repairs)


def _write_judgements(config: JudgementsConfig, access: SourceAccess, catalog: Path) -> dict[str, object]:
    """Write the judgements about the products of the catalog. Return their counts."""
    ids = pq.read_table(catalog / "products.parquet", columns=["product_id"])["product_id"].to_pylist()
    judgements = read_judgements(config, access, frozenset(ids))
    write_judgements(judgements, catalog / "judgements.parquet")
    counts = judgements.to_json()
    logger.info("judgements: %s", ", ".join(f"{name} {value}" for name, value in counts.items()))
    return counts


def _expected_rows(facts: Mapping[str, object], limit: int | None) -> int | None:
    num_rows = facts.get("num_rows")
    if not isinstance(num_rows, int):
        return None
    return num_rows if limit is None else min(num_rows, limit)


def _quarantine_path(cache_dir: Path | None) -> Path | None:
    return None if cache_dir is None else cache_dir / "refused.parquet"

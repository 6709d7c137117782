"""Compaction: delete the images of an image store that no product uses, and merge small packs.

Packs never change, so an ingest keeps the images of deleted products. Compaction is a separate command: run it
occasionally to save space, or at once for a takedown.
"""

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fclip.catalog.image_store import store_metadata, write_store_table
from fclip.images.packs import MAX_PACK_BYTES, PackWriter, StoredImage, pack_digests


@dataclass(frozen=True)
class Compaction:
    """The result of a compaction.

    Attributes:
        num_dropped: deleted images.
        num_packs_before, num_packs: packs before and after.
        sources: SHA-256 digests (hex) of the source bytes of the deleted images.
    """

    num_dropped: int
    num_packs_before: int
    num_packs: int
    sources: frozenset[str] = frozenset()


def compact_store(folder: Path, keep: Set[str]) -> Compaction:
    """Delete every image except those in `keep` (hex digests) from the `ImageStore` in `folder`.

    Packs with a deleted image are rewritten without it. Packs below half the maximum size are merged if there are
    several. The index entries of the deleted images are removed too, so that no trace of them remains.
    """
    results = [_compact(index, keep) for index in sorted(folder.glob("*/images.parquet"))]
    return Compaction(
        sum(each.num_dropped for each in results),
        sum(each.num_packs_before for each in results),
        sum(each.num_packs for each in results),
        frozenset().union(*(each.sources for each in results)),
    )


def _compact(index: Path, keep: Set[str]) -> Compaction:
    folder = index.parent / "packs"
    table = pq.read_table(index)
    names: list[str] = store_metadata(table)["packs"]
    digests = {name: pack_digests(folder / name) for name in names}
    small = [name for name in names if (folder / name).stat().st_size < MAX_PACK_BYTES // 2]
    stale = [name for name in names if not keep >= set(digests[name]) or (name in small and len(small) > 1)]
    num_images = len(set().union(*digests.values()))
    if not stale:
        return Compaction(0, len(names), len(names))
    fresh = [name for name in names if name not in stale]
    stored = {digest for name in fresh for digest in digests[name]}
    with PackWriter(folder, stored=stored) as packs:
        for name in stale:
            for batch in pq.ParquetFile(folder / name).iter_batches():
                for row in batch.to_pylist():
                    if row["image_sha256"] in keep:
                        packs.add(StoredImage(row["image_sha256"], row["bytes"], row["width"], row["height"]))
    remaining = sorted({*fresh, *(pack.name for pack in packs.packs)})
    sources = pq.read_table(index.with_name("sources.parquet"))
    kept_sources = _kept(sources, keep)
    gone = frozenset(each.hex() for each in sources.filter(pc.invert(kept_sources))["source_sha256"].to_pylist())
    # The pairs of near-duplicates refer to the old image numbers: the next ingest computes them again.
    (index.parent / "duplicates.parquet").unlink(missing_ok=True)
    write_store_table(index.with_name("sources.parquet"), sources.filter(kept_sources), {})
    write_store_table(index, table.filter(_kept(table, keep)), {"packs": remaining})
    for name in set(names).difference(remaining):
        (folder / name).unlink()
    num_dropped = num_images - len(keep & set().union(*digests.values()))
    return Compaction(num_dropped, len(names), len(remaining), gone)


def _kept(table: pa.Table, keep: Set[str]) -> pa.Array:
    return pa.array([image.hex() in keep for image in table["image_sha256"].to_pylist()], pa.bool_())

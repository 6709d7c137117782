"""What grows with the catalog and what must not: memory at ten times the rows, and time for what is new of them."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.ingest.inputs import make_workspace
from benchmarks.ingest.runs import IngestRun, run_ingest
from benchmarks.ingest.variants import RewrittenDataset, first_day_rows, next_day_rows, repeated
from fclip.files import sha256_file
from tasks.workspace.paths import Workspace


@dataclass(frozen=True)
class MemoryUse:
    """The peak of an ingest of the dataset as it is, and of `repetitions` of it."""

    repetitions: int
    once: IngestRun
    repeated: IngestRun


@dataclass(frozen=True)
class IncrementalIngest:
    """A whole ingest, and the next with 1 % new, 1 % changed and 1 % deleted products, one run or more of each.

    Attributes:
        num_packs, num_identical: packs of the first, and how many of them the second has, byte for byte.
        num_new_packs: packs that only the second has.
    """

    first: tuple[IngestRun, ...]
    second: tuple[IngestRun, ...]
    num_packs: int
    num_identical: int
    num_new_packs: int

    @property
    def holds(self) -> bool:
        """Whether every old pack stayed and one came."""
        return self.num_identical == self.num_packs and self.num_new_packs == 1


def measure_memory(
    name: str, preset: Mapping[str, Any], folder: Path, limit: int | None, *, repetitions: int
) -> MemoryUse:
    """Ingest a dataset of JPEGs as it is, and so many times over: other ids, other bytes, the same pictures."""
    shop = RewrittenDataset.of(name, preset, folder / "shop", limit)
    runs = []
    for times in (1, repetitions):
        for repetition in range(times):
            shop.write(repeated(shop.records(), repetition), f"data-{repetition:05d}.parquet")
        runs.append(run_ingest(make_workspace(folder / "workspace", name, shop.dataset), name))
        shutil.rmtree(folder)
    return MemoryUse(repetitions, runs[0], runs[1])


def measure_incremental(
    name: str, preset: Mapping[str, Any], folder: Path, limit: int | None, *, rounds: int
) -> IncrementalIngest:
    """Ingest a dataset with no cache, then as the next day finds it, with the cache that the first left."""
    shop = RewrittenDataset.of(name, preset, folder / "shop", limit)
    firsts, seconds = [], []
    old: dict[str, str] = {}
    new: dict[str, str] = {}
    for _ in range(rounds):
        shop.write(first_day_rows(shop.records()), "data.parquet")
        workspace = make_workspace(folder / "workspace", name, shop.dataset)
        firsts.append(run_ingest(workspace, name))
        old = _packs(workspace, name)
        shop.write(next_day_rows(shop.records()), "data.parquet")
        workspace = make_workspace(folder / "workspace", name, shop.dataset)  # pinned anew
        seconds.append(run_ingest(workspace, name, keep_cache=True))
        new = _packs(workspace, name)
    shutil.rmtree(folder)
    identical = sum(new.get(pack) == digest for pack, digest in old.items())
    return IncrementalIngest(tuple(firsts), tuple(seconds), len(old), identical, len(new.keys() - old.keys()))


def _packs(workspace: Workspace, name: str) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in workspace.images(name).glob("pack-*.parquet")}

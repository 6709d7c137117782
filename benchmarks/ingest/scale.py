"""What grows with the catalog and what must not: memory at ten times the rows, and time for what is new of them."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.ingest.inputs import make_workspace, pin
from benchmarks.ingest.runs import Run, run_ingest
from benchmarks.ingest.variants import first_day, next_day, records, repeated, write_records
from fclip.catalog.config import DatasetConfig, HubSource
from fclip.errors import UserError
from fclip.files import sha256_file
from tasks.params import parse
from tasks.paths import Workspace


@dataclass(frozen=True)
class Memory:
    """The peak of an ingest of the dataset as it is, and of `repetitions` of it."""

    repetitions: int
    once: Run
    repeated: Run


@dataclass(frozen=True)
class Incremental:
    """A whole ingest, and the next with 1 % new, 1 % changed and 1 % deleted products, one run or more of each.

    Attributes:
        num_packs, num_identical: packs of the first, and how many of them the second has, byte for byte.
        num_new_packs: packs that only the second has.
    """

    first: tuple[Run, ...]
    second: tuple[Run, ...]
    num_packs: int
    num_identical: int
    num_new_packs: int

    @property
    def holds(self) -> bool:
        """Whether every old pack stayed and one came."""
        return self.num_identical == self.num_packs and self.num_new_packs == 1


def measure_memory(
    name: str, dataset: Mapping[str, Any], folder: Path, limit: int | None, *, repetitions: int
) -> Memory:
    """Ingest a hub dataset as it is, and so many times over (other ids, other bytes, the same pictures)."""
    source = hub_source(name, dataset)
    runs = []
    for times in (1, repetitions):
        shop = folder / "shop"
        for repetition in range(times):
            rows = repeated(records(source, limit), repetition)
            write_records(rows, source, shop / f"data-{repetition:05d}.parquet")
        workspace = make_workspace(folder / "workspace", name, _moved(dataset, shop))
        runs.append(run_ingest(workspace, name))
        shutil.rmtree(folder)
    return Memory(repetitions, runs[0], runs[1])


def measure_incremental(
    name: str, dataset: Mapping[str, Any], folder: Path, limit: int | None, *, rounds: int
) -> Incremental:
    """Ingest a hub dataset with no cache, then as the next day finds it with the cache that the first left."""
    source = hub_source(name, dataset)
    shop = folder / "shop"
    firsts, seconds = [], []
    old: dict[str, str] = {}
    new: dict[str, str] = {}
    moved = _moved(dataset, shop)
    for _ in range(rounds):
        write_records(first_day(records(source, limit)), source, shop / "data.parquet")
        workspace = make_workspace(folder / "workspace", name, moved)
        firsts.append(run_ingest(workspace, name))
        old = _packs(workspace, name)
        write_records(next_day(records(source, limit)), source, shop / "data.parquet")
        pin(workspace, name, hub_source(name, moved))
        seconds.append(run_ingest(workspace, name, keep_cache=True))
        new = _packs(workspace, name)
    shutil.rmtree(folder)
    identical = sum(new.get(pack) == digest for pack, digest in old.items())
    return Incremental(tuple(firsts), tuple(seconds), len(old), identical, len(new.keys() - old.keys()))


def hub_source(name: str, dataset: Mapping[str, Any]) -> HubSource:
    """The dataset's source; raises UserError unless it is a hub dataset."""
    source = parse(name, dict(dataset), DatasetConfig).source
    if not isinstance(source, HubSource):
        raise UserError(f"`{name}` is no hub dataset: memory and incremental ingest are measured on kagl")
    return source


def _moved(dataset: Mapping[str, Any], path: Path) -> dict[str, Any]:
    return {**dataset, "source": {**dataset["source"], "path": str(path)}}


def _packs(workspace: Workspace, name: str) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in workspace.images(name).glob("pack-*.parquet")}

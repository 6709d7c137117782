"""Peak memory of an ingest with repeated rows, and the time of an incremental ingest."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.ingest.inputs import make_workspace
from benchmarks.ingest.runs import IngestRun, run_ingest
from benchmarks.ingest.variants import RewrittenDataset, first_day_rows, next_day_rows, repeated_rows
from fclip.files import sha256_file
from tasks.workspace.paths import Workspace


@dataclass(frozen=True)
class MemoryUse:
    """An ingest of the dataset, and one with its rows repeated `repetitions` times."""

    repetitions: int
    once: IngestRun
    repeated: IngestRun


@dataclass(frozen=True)
class IncrementalIngest:
    """A full ingest, and one after 1 % of the products were added, 1 % changed and 1 % deleted.

    Attributes:
        first, second: one or more runs of each.
        num_packs: number of packs of the first ingest. num_identical: those that the second has, byte for byte.
        num_new_packs: packs that only the second ingest has.
    """

    first: tuple[IngestRun, ...]
    second: tuple[IngestRun, ...]
    num_packs: int
    num_identical: int
    num_new_packs: int

    @property
    def old_packs_unchanged(self) -> bool:
        """Whether the second ingest kept every old pack and added exactly one."""
        return self.num_identical == self.num_packs and self.num_new_packs == 1


def measure_memory(
    name: str, preset: Mapping[str, Any], folder: Path, limit: int | None, *, repetitions: int
) -> MemoryUse:
    """Ingest a dataset of JPEGs once, and once with its rows repeated under new ids and with new bytes."""
    dataset = RewrittenDataset.from_preset(name, preset, folder / "dataset", limit)
    runs = []
    for num_copies in (1, repetitions):
        for repetition in range(num_copies):
            dataset.write(repeated_rows(dataset.rows(), repetition), f"data-{repetition:05d}.parquet")
        runs.append(run_ingest(make_workspace(folder / "workspace", name, dataset.config), name))
        shutil.rmtree(folder)
    return MemoryUse(repetitions, runs[0], runs[1])


def measure_incremental(
    name: str, preset: Mapping[str, Any], folder: Path, limit: int | None, *, rounds: int
) -> IncrementalIngest:
    """Ingest the first day's rows with an empty cache, then the next day's rows with the cache of the first ingest."""
    dataset = RewrittenDataset.from_preset(name, preset, folder / "dataset", limit)
    firsts, seconds = [], []
    old: dict[str, str] = {}
    new: dict[str, str] = {}
    for _ in range(rounds):
        dataset.write(first_day_rows(dataset.rows()), "data.parquet")
        workspace = make_workspace(folder / "workspace", name, dataset.config)
        firsts.append(run_ingest(workspace, name))
        old = _pack_digests(workspace, name)
        dataset.write(next_day_rows(dataset.rows()), "data.parquet")
        workspace = make_workspace(folder / "workspace", name, dataset.config)  # pin the new rows
        seconds.append(run_ingest(workspace, name, keep_cache=True))
        new = _pack_digests(workspace, name)
    shutil.rmtree(folder)
    identical = sum(new.get(pack) == digest for pack, digest in old.items())
    return IncrementalIngest(tuple(firsts), tuple(seconds), len(old), identical, len(new.keys() - old.keys()))


def _pack_digests(workspace: Workspace, name: str) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in workspace.images(name).glob("pack-*.parquet")}

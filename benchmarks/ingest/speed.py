"""Images per second of fclip, img2dataset and decoding alone, in interleaved runs on the same files."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.ingest.img2dataset import Img2dataset, Img2datasetRun, Img2datasetSettings, tune
from benchmarks.ingest.inputs import IngestInput, make_workspace, write_ingest_input
from benchmarks.ingest.runs import WORKERS, IngestRun, run_decoding, run_ingest
from fclip.catalog.config import IngestConfig
from tasks.workspace.params import load_section

TUNING_IMAGES = 6000


@dataclass(frozen=True)
class IngestSpeed:
    """Measurements of one dataset, one run per round.

    Attributes:
        files: fclip on the image files.
        shipped: fclip on the original dataset (`kagl`: images inside Parquet).
        peer: img2dataset on the image files with `settings`; empty if it did not run.
        decoding: seconds for decoding alone, by `threads` or `processes`.
        converting: the same with shrinking and encoding.
        profiled: one more run on `files`, with its CPU time by part.
    """

    num_images: int
    num_bytes: int
    files: tuple[IngestRun, ...]
    shipped: tuple[IngestRun, ...]
    peer: tuple[Img2datasetRun, ...]
    settings: Img2datasetSettings | None
    decoding: Mapping[str, tuple[float, ...]]
    converting: Mapping[str, tuple[float, ...]]
    profiled: IngestRun

    def rate(self, seconds: float) -> float:
        """Return images per second."""
        return self.num_images / seconds

    @property
    def ratios(self) -> dict[str, float]:
        """fclip's images/s divided by img2dataset's, from medians, with and without start-up."""
        if not self.peer:
            return {}
        peer, peer_whole = median(run.seconds for run in self.peer), median(run.whole_seconds for run in self.peer)
        return {
            "files": peer / median(run.seconds for run in self.files),
            "files, with start-up": peer_whole / median(run.whole_seconds for run in self.files),
            "original dataset": peer / median(run.seconds for run in self.shipped),
            "original dataset, with start-up": peer_whole / median(run.whole_seconds for run in self.shipped),
        }


def measure_ingest_speed(
    name: str,
    datasets: Path,
    preset: Mapping[str, Any],
    folder: Path,
    limit: int | None,
    *,
    rounds: int,
    peer: Img2dataset | None,
    show_progress: Callable[[str], None],
) -> IngestSpeed:
    """Write the dataset as files, tune img2dataset, and run all contenders in turn, `rounds` times."""
    given = write_ingest_input(name, datasets, folder / "files", limit)
    files = make_workspace(folder / "as-files", name, {**preset, "source": given.source})
    shipped = make_workspace(folder / "as-shipped", name, preset, limit)
    image_config = load_section(files, "ingest", IngestConfig).settings.image
    settings = None
    if peer is not None:
        sample = write_ingest_input(name, datasets, folder / "sample", min(limit or TUNING_IMAGES, TUNING_IMAGES))
        settings = tune(peer, sample, folder / "peer", image_config, cores=WORKERS, show_progress=show_progress)
    on_files: list[IngestRun] = []
    on_original: list[IngestRun] = []
    peer_runs: list[Img2datasetRun] = []
    decoding: dict[str, list[float]] = {"threads": [], "processes": []}
    converting: dict[str, list[float]] = {"threads": [], "processes": []}
    for number in range(rounds):
        _warm_page_cache(given)
        on_files.append(run_ingest(files, name))
        if peer is not None and settings is not None:
            peer_runs.append(peer.run(given, folder / "peer", image_config, settings))
        on_original.append(run_ingest(shipped, name))
        for kind in decoding:
            processes = kind == "processes"
            decoding[kind].append(run_decoding(given.images, processes=processes, convert_as=None))
            converting[kind].append(run_decoding(given.images, processes=processes, convert_as=files))
        show_progress(f"{name}: round {number + 1} of {rounds} done")
    profiled = run_ingest(files, name, parts=True)
    shutil.rmtree(folder)
    return IngestSpeed(
        num_images=given.num_images,
        num_bytes=given.num_bytes,
        files=tuple(on_files),
        shipped=tuple(on_original),
        peer=tuple(peer_runs),
        settings=settings,
        decoding={kind: tuple(seconds) for kind, seconds in decoding.items()},
        converting={kind: tuple(seconds) for kind, seconds in converting.items()},
        profiled=profiled,
    )


def _warm_page_cache(given: IngestInput) -> None:
    """Read every file once, so that no contender waits for the disk."""
    for file in given.files:
        file.read_bytes()

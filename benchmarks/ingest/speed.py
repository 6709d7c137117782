"""Images a second: fclip, img2dataset and decoding alone, in turn, on the same files."""

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
    """Measurements of one dataset, a run a round.

    Attributes:
        files: fclip on the laid-out files.
        shipped: fclip on the dataset as it ships (`kagl`: images inside Parquet).
        peer: img2dataset on the same files, with `settings`; empty without it.
        decoding: seconds for decoding alone, `threads` or `processes`; `converting`: shrunk and encoded as well.
        profiled: one more run of `files`, its CPU time by part.
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
        """Images a second."""
        return self.num_images / seconds

    @property
    def ratios(self) -> dict[str, float]:
        """fclip's images/s over img2dataset's, medians: on files and as shipped, without and with start-up."""
        if not self.peer:
            return {}
        peer, peer_whole = median(run.seconds for run in self.peer), median(run.whole_seconds for run in self.peer)
        return {
            "files": peer / median(run.seconds for run in self.files),
            "files, with start-up": peer_whole / median(run.whole_seconds for run in self.files),
            "as shipped": peer / median(run.seconds for run in self.shipped),
            "as shipped, with start-up": peer_whole / median(run.whole_seconds for run in self.shipped),
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
    """Lay the dataset out, tune img2dataset, and let all run in turn, `rounds` times."""
    given = write_ingest_input(name, datasets, folder / "files", limit)
    files = make_workspace(folder / "as-files", name, {**preset, "source": given.source})
    shipped = make_workspace(folder / "as-shipped", name, preset, limit)
    image_config = load_section(files, "ingest", IngestConfig).settings.image
    settings = None
    if peer is not None:
        sample = write_ingest_input(name, datasets, folder / "sample", min(limit or TUNING_IMAGES, TUNING_IMAGES))
        settings = tune(peer, sample, folder / "peer", image_config, cores=WORKERS, show_progress=show_progress)
    ours: list[IngestRun] = []
    ours_shipped: list[IngestRun] = []
    theirs: list[Img2datasetRun] = []
    decoding: dict[str, list[float]] = {"threads": [], "processes": []}
    converting: dict[str, list[float]] = {"threads": [], "processes": []}
    for number in range(rounds):
        _read(given)
        ours.append(run_ingest(files, name))
        if peer is not None and settings is not None:
            theirs.append(peer.run(given, folder / "peer", image_config, settings))
        ours_shipped.append(run_ingest(shipped, name))
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
        files=tuple(ours),
        shipped=tuple(ours_shipped),
        peer=tuple(theirs),
        settings=settings,
        decoding={kind: tuple(seconds) for kind, seconds in decoding.items()},
        converting={kind: tuple(seconds) for kind, seconds in converting.items()},
        profiled=profiled,
    )


def _read(given: IngestInput) -> None:
    """Read every file once, so that nobody waits for the disk."""
    for file in given.files:
        file.read_bytes()

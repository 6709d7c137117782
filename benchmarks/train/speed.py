"""Samples a second: fclip, open_clip's training and the limit, in turn, on the same products from the same start."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.train.fclip_training import comparable_config, run_job
from benchmarks.train.inputs import TrainingInput
from benchmarks.train.open_clip_trainer import OpenClipTrainer, tune
from benchmarks.train.setup import Precision, TrainingSetup
from benchmarks.train.throughput import TrainingRun
from benchmarks.train.upper_bound import run_upper_bound
from fclip.training.config import FinetuneConfig

FCLIP, FCLIP_UNCACHED, UPPER_BOUND = "fclip", "fclip, decoding for every batch", "limit: random tensors in memory"
MAX_EXTRA_TIME = 0.05


@dataclass(frozen=True)
class TrainingSpeed:
    """Measurements in one precision, a run a round.

    Attributes:
        runs: by contender; open_clip's are called by `open_clip_name`.
        workers: how many data workers each form of open_clip's was fastest with; empty without it.
    """

    precision: str
    runs: Mapping[str, tuple[TrainingRun, ...]]
    workers: Mapping[str, int]

    def rate(self, contender: str) -> float:
        """Samples a second once settled, the median of the rounds."""
        return median(run.rate for run in self.runs[contender])

    def whole_rate(self, contender: str) -> float:
        """Samples a second of the whole process, the median of the rounds."""
        return median(run.whole_rate for run in self.runs[contender])

    @property
    def ratios(self) -> dict[str, float]:
        """fclip's samples/s over open_clip's, once settled and whole, by form."""
        found = {}
        for form in self.workers:
            found[form] = self.rate(FCLIP) / self.rate(open_clip_name(form))
            found[f"{form}, whole runs"] = self.whole_rate(FCLIP) / self.whole_rate(open_clip_name(form))
        return found

    @property
    def extra_time(self) -> dict[str, float]:
        """The share of time that fclip's steps take beyond the limit's."""
        return {name: self.rate(UPPER_BOUND) / self.rate(name) - 1 for name in (FCLIP, FCLIP_UNCACHED)}


def open_clip_name(form: str) -> str:
    """What a form of open_clip's training is called."""
    return f"open_clip, {form}"


def measure_training_speed(
    data: TrainingInput,
    folder: Path,
    setup: TrainingSetup,
    *,
    base_model: Path,
    precision: Precision,
    rounds: int,
    peer: OpenClipTrainer | None,
    show_progress: Callable[[str], None],
) -> TrainingSpeed:
    """Tune open_clip's workers, and let all run in turn, `rounds` times."""
    cached = comparable_config(setup, precision)
    uncached = comparable_config(setup, precision, pixel_cache_gb=0.0)
    job, log = folder / "job", folder / "open_clip"
    workers: dict[str, int] = {}
    if peer is not None:
        workers = tune(peer, data, log, setup, base_model=base_model, precision=precision, show_progress=show_progress)

    def ours(config: FinetuneConfig) -> TrainingRun:
        return run_job(job, config, data, base_model=base_model, edge_steps=setup.edge_steps)

    def theirs(form: str) -> TrainingRun:
        assert peer is not None
        return peer.run(data, log, setup, base_model=base_model, form=form, workers=workers[form], precision=precision)

    def limit() -> TrainingRun:
        return run_upper_bound(job, cached, data, base_model=base_model, steps=setup.steps, edge_steps=setup.edge_steps)

    contenders: dict[str, Callable[[], TrainingRun]] = {FCLIP: partial(ours, cached)}
    contenders |= {open_clip_name(form): partial(theirs, form) for form in workers}
    contenders |= {FCLIP_UNCACHED: partial(ours, uncached), UPPER_BOUND: limit}
    runs: dict[str, list[TrainingRun]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, run in contenders.items():
            runs[name].append(run())
            show_progress(f"{name}, {precision}, round {number + 1} of {rounds}: {runs[name][-1].rate:.1f} samples/s")
    return TrainingSpeed(precision, {name: tuple(found) for name, found in runs.items()}, workers)

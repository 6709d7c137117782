"""Samples a second: fclip, open_clip's training and the limit, in turn, on the same products from the same start."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.train.inputs import Input
from benchmarks.train.limit import run_limit
from benchmarks.train.ours import peer_config, run_job
from benchmarks.train.pace import Run
from benchmarks.train.peer import Peer, tune
from benchmarks.train.setup import Precision, Setup
from fclip.training.config import FinetuneConfig

OURS, OURS_UNCACHED, LIMIT = "fclip", "fclip, decoding for every batch", "limit: random tensors in memory"
MOST_OVER_LIMIT = 0.05


@dataclass(frozen=True)
class Speed:
    """Measurements in one precision, a run a round.

    Attributes:
        runs: by contender; open_clip's are called by `peer_name`.
        workers: how many data workers each form of open_clip's was fastest with; empty without it.
    """

    precision: str
    runs: Mapping[str, tuple[Run, ...]]
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
            found[form] = self.rate(OURS) / self.rate(peer_name(form))
            found[f"{form}, whole runs"] = self.whole_rate(OURS) / self.whole_rate(peer_name(form))
        return found

    @property
    def over_limit(self) -> dict[str, float]:
        """The share of time that fclip's steps take beyond the limit's."""
        return {name: self.rate(LIMIT) / self.rate(name) - 1 for name in (OURS, OURS_UNCACHED)}


def peer_name(form: str) -> str:
    """What a form of open_clip's training is called."""
    return f"open_clip, {form}"


def measure_speed(
    data: Input,
    folder: Path,
    setup: Setup,
    *,
    base_model: Path,
    precision: Precision,
    rounds: int,
    peer: Peer | None,
    tell: Callable[[str], None],
) -> Speed:
    """Tune open_clip's workers, and let all run in turn, `rounds` times."""
    cached = peer_config(setup, precision)
    uncached = peer_config(setup, precision, pixel_cache_gb=0.0)
    job, log = folder / "job", folder / "open_clip"
    workers: dict[str, int] = {}
    if peer is not None:
        workers = tune(peer, data, log, setup, base_model=base_model, precision=precision, tell=tell)

    def ours(config: FinetuneConfig) -> Run:
        return run_job(job, config, data, base_model=base_model, settling=setup.settling)

    def theirs(form: str) -> Run:
        assert peer is not None
        return peer.run(data, log, setup, base_model=base_model, form=form, workers=workers[form], precision=precision)

    def limit() -> Run:
        return run_limit(job, cached, data, base_model=base_model, steps=setup.steps, settling=setup.settling)

    contenders: dict[str, Callable[[], Run]] = {OURS: partial(ours, cached)}
    contenders |= {peer_name(form): partial(theirs, form) for form in workers}
    contenders |= {OURS_UNCACHED: partial(ours, uncached), LIMIT: limit}
    runs: dict[str, list[Run]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, run in contenders.items():
            runs[name].append(run())
            tell(f"{name}, {precision}, round {number + 1} of {rounds}: {runs[name][-1].rate:.1f} samples/s")
    return Speed(precision, {name: tuple(found) for name, found in runs.items()}, workers)

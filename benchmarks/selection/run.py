"""One run: trained from its start, its candidates left in a folder."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.ablation.__main__ import changed
from benchmarks.train.processes import run_measured
from fclip.models.config import TowersStart
from fclip.training.job import write_job
from tasks.params import parse, read_params
from tasks.paths import Workspace
from tasks.start import start_folder

PARAMS = Path(__file__).with_name("params.yaml")
REGIMES = Path(__file__).with_name("regimes.yaml")
TRAINED = "shop"


@dataclass(frozen=True)
class Run:
    """A regime and a seed."""

    regime: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.regime}-{self.seed}"

    @property
    def changes(self) -> Mapping[str, Any]:
        """What the regime changes in the section `finetune`."""
        return _regimes()[self.regime]


def _regimes() -> dict[str, dict[str, Any]]:
    regimes: dict[str, dict[str, Any]] = yaml.safe_load(REGIMES.read_text(encoding="utf-8"))
    return regimes


def regimes() -> list[str]:
    """Their names."""
    return list(_regimes())


def train(workspace: Workspace, run: Run, jobs: Path) -> Path:
    """The folder of candidates, made anew unless it is there."""
    job = jobs / run.name
    if (job / "out" / "candidates.json").is_file():
        return job / "out"
    section = read_params(PARAMS)["finetune"]
    start = start_folder(workspace, parse("finetune.start", section["start"], TowersStart))
    write_job(
        job,
        config=changed(section, run.changes),
        seed=run.seed,
        start=start,
        products=workspace.training / "products.parquet",
        images={TRAINED: workspace.images(TRAINED)},
        pixels=workspace.pixel_cache,
    )
    run_measured([sys.executable, "-m", "fclip.training", str(job)], cwd=job, watch_gpu=False)
    return job / "out"

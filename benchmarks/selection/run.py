"""One run: trained from its base model, its candidates left in a folder."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.ablation.__main__ import apply_changes
from benchmarks.selection.random_tower import write_random_image_tower
from benchmarks.train.processes import run_measured
from fclip.base_models.towers import TowersConfig
from fclip.training.config import FinetuneConfig
from fclip.training.job import write_job
from tasks.base_model import base_model_folder
from tasks.workspace.params import parse, read_params
from tasks.workspace.paths import Workspace

PARAMS = Path(__file__).with_name("params.yaml")
REGIMES = Path(__file__).with_name("regimes.yaml")
TRAINED = "shop"


@dataclass(frozen=True)
class StudyRun:
    """A regime and a seed."""

    regime: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.regime}-{self.seed}"

    @property
    def finetune(self) -> FinetuneConfig:
        """How it is trained."""
        return apply_changes(read_params(PARAMS)["finetune"], self._own.get("finetune", {}))

    @property
    def sections(self) -> dict[str, Any]:
        """How its candidates are averaged and scored: sections of params."""
        params = read_params(PARAMS)
        return {"average": {**params["average"], **self._own.get("average", {})}, "evaluate": params["evaluate"]}

    @property
    def random_image_tower(self) -> dict[str, Any] | None:
        """What takes the place of the base model's image tower, as `write_random_image_tower` takes it."""
        found: dict[str, Any] | None = self._own.get("random_image_tower")
        return found

    @property
    def _own(self) -> dict[str, Any]:
        return _regimes()[self.regime]


def _regimes() -> dict[str, dict[str, Any]]:
    regimes: dict[str, dict[str, Any]] = yaml.safe_load(REGIMES.read_text(encoding="utf-8"))
    return regimes


def regimes() -> list[str]:
    """Their names."""
    return list(_regimes())


def train(workspace: Workspace, run: StudyRun, jobs: Path) -> Path:
    """The folder of candidates, made anew unless it is there."""
    job = jobs / run.name
    if (job / "out" / "candidates.json").is_file():
        return job / "out"
    base_model = base_model_folder(
        workspace, parse("finetune.base_model", read_params(PARAMS)["finetune"]["base_model"], TowersConfig)
    )
    if run.random_image_tower:
        text, base_model = base_model, jobs / f"{run.name}-start"
        write_random_image_tower(text, base_model, **run.random_image_tower, seed=run.seed)
    write_job(
        job,
        config=run.finetune,
        seed=run.seed,
        base_model=base_model,
        products=workspace.training / "products.parquet",
        images={TRAINED: workspace.images(TRAINED)},
        pixels=workspace.pixel_cache,
    )
    run_measured([sys.executable, "-m", "fclip.training", str(job)], cwd=job, watch_gpu=False)
    return job / "out"

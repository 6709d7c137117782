"""Train one run of the study from its base model."""

import argparse
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
    """One training run of the study: a regime with a seed."""

    regime: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.regime}-{self.seed}"

    @property
    def finetune(self) -> FinetuneConfig:
        """The training config."""
        return apply_changes(read_params(PARAMS)["finetune"], self._changes.get("finetune", {}))

    @property
    def sections(self) -> dict[str, Any]:
        """The params sections `average` and `evaluate`."""
        params = read_params(PARAMS)
        return {"average": {**params["average"], **self._changes.get("average", {})}, "evaluate": params["evaluate"]}

    @property
    def random_image_tower(self) -> dict[str, Any] | None:
        """The arguments of `write_random_image_tower`, or None if the base model keeps its image tower."""
        arguments: dict[str, Any] | None = self._changes.get("random_image_tower")
        return arguments

    @property
    def _changes(self) -> dict[str, Any]:
        return _read_regimes()[self.regime]


def _read_regimes() -> dict[str, dict[str, Any]]:
    regimes: dict[str, dict[str, Any]] = yaml.safe_load(REGIMES.read_text(encoding="utf-8"))
    return regimes


def regime_names() -> list[str]:
    """Return the names of the regimes."""
    return list(_read_regimes())


def kept_runs_parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """Return the command line of a benchmark that reads trained models of the study: `--work`, `--runs`, `--out`."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="the folder of the trained models")
    parser.add_argument("--runs", nargs="+", required=True, metavar="NAME", help="runs whose models it has")
    parser.add_argument("--out", type=Path, help="file for the results (.json)")
    return parser


def train_run(workspace: Workspace, run: StudyRun, jobs: Path) -> Path:
    """Return the folder of the candidates. Train them first if they do not exist yet."""
    job = jobs / run.name
    if (job / "out" / "candidates.json").is_file():
        return job / "out"
    base_model = base_model_folder(
        workspace, parse("finetune.base_model", read_params(PARAMS)["finetune"]["base_model"], TowersConfig)
    )
    if run.random_image_tower:
        text_model, base_model = base_model, jobs / f"{run.name}-base-model"
        write_random_image_tower(text_model, base_model, **run.random_image_tower, seed=run.seed)
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

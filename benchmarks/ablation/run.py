"""Train one variant from its base model, and evaluate its last candidate on every dataset."""

import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.paths import PRESET
from benchmarks.train.fclip_training import NO_CHECKPOINT
from benchmarks.train.processes import run_measured
from fclip.base_models.registry import ChampionConfig
from fclip.files import read_json, sha256_json
from fclip.training.config import FinetuneConfig, to_json
from fclip.training.job import write_job
from tasks.base_model import base_model_folder
from tasks.evaluate import evaluate_on
from tasks.workspace.params import read_params
from tasks.workspace.paths import Workspace

TRAINED_DATASET = "kagl"
EVALUATED_DATASETS = (TRAINED_DATASET, "clothing", "fmnist")
METRICS = ("classification.acc1", "classification.weighted_f1", "retrieval.text_to_image.recall_at_10")


@dataclass(frozen=True)
class AblationResult:
    """The result of one variant.

    Attributes:
        key: the name of the row, and the options it was trained and evaluated with.
        config: the whole section `finetune`.
        minutes: duration of the training process.
        scores: dataset -> metric -> score of the last candidate.
        base_model: dataset -> metric -> score of the base model.
        folder: the folder of the last candidate.
    """

    key: dict[str, Any]
    config: dict[str, Any]
    minutes: float
    scores: dict[str, dict[str, float]]
    base_model: dict[str, dict[str, float]]
    folder: str


def benchmark_config(config: FinetuneConfig) -> FinetuneConfig:
    """Return `config` with a single candidate at the end and without checkpoints for resuming."""
    return replace(config, num_candidates=1, checkpoint_every=NO_CHECKPOINT)


def run_variant(workspace: Workspace, key: dict[str, Any], config: FinetuneConfig, jobs: Path) -> AblationResult:
    """Train on the gathered products of the workspace, and evaluate on the splits with the role `key["role"]`.

    Args:
        jobs: the folder for the job of this variant.
    """
    base_model_config = config.base_model
    assert not isinstance(base_model_config, ChampionConfig)
    config = benchmark_config(config)
    base_model = base_model_folder(workspace, base_model_config)
    job = jobs / sha256_json([key, to_json(config)])[:16]
    shutil.rmtree(job, ignore_errors=True)
    write_job(
        job,
        config=config,
        seed=read_params(PRESET)["base"]["seed"],
        base_model=base_model,
        products=workspace.training / "products.parquet",
        images={TRAINED_DATASET: workspace.images(TRAINED_DATASET)},
        pixels=workspace.pixel_cache,
    )
    done = run_measured([sys.executable, "-m", "fclip.training", str(job)], cwd=job, watch_gpu=False)
    last = job / "out" / "candidates" / read_json(job / "out" / "candidates.json")[-1]["name"]
    scores_of: dict[str, dict[str, dict[str, float]]] = {"base-model": {}, "last": {}}
    for name in EVALUATED_DATASETS:
        evaluation = evaluate_on(workspace, {"base-model": base_model, "last": last}, name, roles=(key["role"],))
        for model, of_model in scores_of.items():
            scores = {f"{each.protocol}.{each.metric}": each for each in evaluation.scores if each.model == model}
            of_model[name] = {metric: scores[metric].estimate.value for metric in METRICS if metric in scores}
    return AblationResult(
        key, to_json(config), done.seconds / 60, scores_of["last"], scores_of["base-model"], str(last)
    )

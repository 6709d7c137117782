"""One variant: trained from its base model, and its last candidate evaluated on every dataset."""

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
    """What a variant came to.

    Attributes:
        key: its name, and what it was trained and evaluated on.
        config: the whole section `finetune`.
        minutes: of the training process.
        scores: metric -> value, by dataset.
        start: the same of what it started from.
        folder: the candidate's.
    """

    key: dict[str, Any]
    config: dict[str, Any]
    minutes: float
    scores: dict[str, dict[str, float]]
    base_model: dict[str, dict[str, float]]
    folder: str


def benchmark_config(config: FinetuneConfig) -> FinetuneConfig:
    """`config` with its last candidate alone, and without checkpoints to go on from."""
    return replace(config, num_candidates=1, checkpoint_every=NO_CHECKPOINT)


def run_variant(workspace: Workspace, key: dict[str, Any], config: FinetuneConfig, jobs: Path) -> AblationResult:
    """Train on what the workspace has gathered, in a folder of `jobs`, and evaluate on the splits of `key["role"]`."""
    cold = config.base_model
    assert not isinstance(cold, ChampionConfig)
    config = benchmark_config(config)
    base_model = base_model_folder(workspace, cold)
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
    found: dict[str, dict[str, dict[str, float]]] = {"base-model": {}, "last": {}}
    for name in EVALUATED_DATASETS:
        evaluation = evaluate_on(workspace, {"base-model": base_model, "last": last}, name, roles=(key["role"],))
        for model, of_model in found.items():
            scores = {f"{each.protocol}.{each.metric}": each for each in evaluation.scores if each.model == model}
            of_model[name] = {metric: scores[metric].estimate.value for metric in METRICS if metric in scores}
    return AblationResult(key, to_json(config), done.seconds / 60, found["last"], found["base-model"], str(last))

"""fclip's side: a job folder, `python -m fclip.training` on it, and the timings that it leaves there."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.paths import PRESET
from benchmarks.train import setup as given
from benchmarks.train.inputs import DATASET, TrainingInput
from benchmarks.train.processes import run_measured
from benchmarks.train.setup import Precision, TrainingSetup
from benchmarks.train.throughput import TrainingRun, read_timings
from fclip.base_models.local import LocalConfig
from fclip.training.config import AugmentConfig, FinetuneConfig, ObjectiveConfig
from fclip.training.job import write_job
from tasks.workspace.params import parse, read_params

SEED = 0
NO_CHECKPOINT = 10**9
CACHED_GB = 20.0


def preset_config() -> FinetuneConfig:
    """The section `finetune` of params/kagl.yaml."""
    return parse("finetune", read_params(PRESET)["finetune"], FinetuneConfig)


def comparable_config(
    setup: TrainingSetup, precision: Precision, *, pixel_cache_gb: float = CACHED_GB
) -> FinetuneConfig:
    """What open_clip's training is told to do, as fclip's params say it: the whole model, one candidate at the end."""
    return replace(
        preset_config(),
        base_model=LocalConfig(kind="local", path="base-model"),
        device=setup.device,
        processes=1,
        precision=precision,
        compile=setup.compile,
        trainable="all",
        objective=ObjectiveConfig(
            loss="clip", positives="pairs", fields=None, hard_negatives=0.0, micro_batch_size=None
        ),
        epochs=setup.epochs,
        batch_size=setup.batch_size,
        learning_rate=given.LEARNING_RATE,
        warmup_fraction=given.WARMUP_FRACTION,
        weight_decay=given.WEIGHT_DECAY,
        betas=given.BETAS,
        clip_grad_norm=given.GRAD_NORM,
        num_candidates=1,
        checkpoint_every=NO_CHECKPOINT,
        pixel_cache_gb=pixel_cache_gb,
        captions={"title": 1.0},
        augment=AugmentConfig(
            min_crop_area=given.MIN_CROP_AREA,
            flip=False,
            colour_jitter=0.0,
            greyscale=0.0,
            background=0.0,
            thumbnail=0.0,
            invert=0.0,
        ),
    )


def run_job(
    job: Path, config: FinetuneConfig, data: TrainingInput, *, base_model: Path, edge_steps: int
) -> TrainingRun:
    """Train on `data` in the folder `job`, which is made anew and deleted after."""
    shutil.rmtree(job, ignore_errors=True)
    write_job(
        job, config=config, seed=SEED, base_model=base_model, products=data.products, images={DATASET: data.packs}
    )
    done = run_measured([sys.executable, "-m", "fclip.training", str(job)], cwd=job, watch_gpu=config.device == "cuda")
    windows = read_timings(job / "timings.csv")
    shutil.rmtree(job)
    return TrainingRun(
        batch_size=config.batch_size,
        steps_per_epoch=data.num_products // config.batch_size,
        edge_steps=edge_steps,
        whole_seconds=done.seconds,
        windows=windows,
        gpu_bytes=done.gpu_bytes,
    )

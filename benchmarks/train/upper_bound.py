"""The limit: the same model, loss and optimiser stepping on a batch that is in memory; nothing is loaded or varied.

python -m benchmarks.train.upper_bound JOB_DIR STEPS

JOB_DIR is a job of fclip.training, of which the images are not read. The seconds of each step are the last line of
standard output, as JSON.
"""

import json
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.train.fclip_training import SEED
from benchmarks.train.inputs import DATASET, TrainingInput
from benchmarks.train.processes import run_measured
from benchmarks.train.throughput import StepWindow, TrainingRun
from fclip.models.device import resolve_device
from fclip.models.store import load
from fclip.training.compute import keep_freed_memory, should_compile
from fclip.training.config import FinetuneConfig
from fclip.training.data import read_items, training_pass
from fclip.training.job import read_job, write_job
from fclip.training.learner import BatchInputs, Captions, Learner
from fclip.training.processes import World
from fclip.training.texts import tokenise_texts
from fclip.training.trainable import freeze_all_except, trainable_names


def run_upper_bound(
    job: Path, config: FinetuneConfig, data: TrainingInput, *, base_model: Path, steps: int, edge_steps: int
) -> TrainingRun:
    """Step so many times in a process of its own, model and optimiser as in a run of this config (all is tuned)."""
    shutil.rmtree(job, ignore_errors=True)
    write_job(
        job, config=config, seed=SEED, base_model=base_model, products=data.products, images={DATASET: data.packs}
    )
    command = [sys.executable, "-m", "benchmarks.train.upper_bound", str(job), str(steps)]
    done = run_measured(command, cwd=job, watch_gpu=config.device == "cuda")
    shutil.rmtree(job)
    seconds = json.loads(done.output.splitlines()[-1])
    return TrainingRun(
        batch_size=config.batch_size,
        steps_per_epoch=steps,
        edge_steps=edge_steps,
        whole_seconds=done.seconds,
        windows=tuple(StepWindow(1, each, 0.0) for each in seconds),
        gpu_bytes=done.gpu_bytes,
    )


def step_seconds(job: Path, steps: int) -> list[float]:
    """Seconds of each step of fclip's own learner, until it is done, on a batch that is in memory.

    The pixels are random. The texts are those of the run's first batch: how long they are, and how many are the same,
    decides how much there is to compute.
    """
    config, base_model = read_job(job).config, read_job(job).base_model
    keep_freed_memory()
    device = resolve_device(config.device)
    clip = load(base_model, device=device)
    clip.model.visual.to(memory_format=torch.channels_last)
    freeze_all_except(clip.model, trainable_names(clip.model, config))
    learner = Learner(clip, config, World(), compiled=should_compile(config.compile, device, steps))
    first = training_pass(read_items(read_job(job).products, "train", config.kinds), config, seed=SEED, epoch=0)
    drawn = [text for (text,) in first.texts[: config.batch_size] if text is not None]
    distinct = list(dict.fromkeys(drawn))
    texts = tokenise_texts(clip, learner.encoder, distinct, None)
    numbers = np.array([[distinct.index(text)] for text in drawn])
    generator = torch.Generator().manual_seed(SEED)
    shape = (config.batch_size, clip.preprocess.size, clip.preprocess.size, 3)
    inputs = BatchInputs(
        images=torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).to(device),
        captions=(
            Captions(
                texts=lambda rows: texts.batch(numbers[rows]),
                positive=torch.eye(config.batch_size, dtype=torch.bool, device=device),
            ),
        ),
    )
    seconds = []
    for number in range(steps):
        began = time.perf_counter()
        learner.update(inputs, rate=config.learning_rate, num_updates=number, seed=number)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - began)
    return seconds


if __name__ == "__main__":
    print(json.dumps(step_seconds(Path(sys.argv[1]), int(sys.argv[2]))))

"""A training job: a folder with everything that one run needs, so that it can be moved to another machine.

    job.json      config, seed, and the paths of the inputs, which are in the folder or symbolic links in it
    pixels/       decoded images; several jobs may share them
    work/         checkpoints of an unfinished run, and features of frozen towers
    out/          the result: candidates/, candidates.json (written last), history.csv, validation.csv
    timings.csv   seconds of each step

To move a job, copy the folder and follow its links (`rsync -rL`).
"""

import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from fclip.errors import UserError
from fclip.files import read_json, write_json
from fclip.images.packs import ImagePacks
from fclip.models.device import resolve_device
from fclip.models.preprocess import Preprocess
from fclip.models.store import load
from fclip.training import output
from fclip.training.compute import keep_freed_memory
from fclip.training.config import FinetuneConfig, from_json, to_json
from fclip.training.data import number_passes, read_items, repeated_fraction, training_pass, validation_pass
from fclip.training.launch import launch, process_device, resolve_num_processes, started_by_torchrun
from fclip.training.loader import POOLED_TRAINING_IMAGES, TrainingData
from fclip.training.loop import train
from fclip.training.pixel_sources import GB, PixelSource, open_pixel_source
from fclip.training.pooled_images import load_pooled_images
from fclip.training.processes import World, join_processes
from fclip.training.stop import Stop, never_stop
from fclip.training.teacher import load_targets
from fclip.training.training_log import TrainingLog

logger = logging.getLogger(__name__)

TIMINGS = "timings.csv"
TEACHER = "teacher.parquet"
CROP_MARGIN = 1.15
"""Training images are decoded larger than the model's size by this factor, so that crops need less upscaling."""


@dataclass(frozen=True)
class Job:
    """The inputs of one run. Paths are absolute.

    Attributes:
        base_model: a model folder.
        products: Parquet with the columns `dataset, product_id, split, images, captions, category`.
        images: folders of image packs.
        teacher: embeddings to learn from; None without distillation.
    """

    config: FinetuneConfig
    seed: int
    base_model: Path
    products: Path
    images: tuple[Path, ...]
    teacher: Path | None = None


def write_job(
    folder: Path,
    *,
    config: FinetuneConfig,
    seed: int,
    base_model: Path,
    products: Path,
    images: Mapping[str, Path],
    pixels: Path | None = None,
    teacher: Path | None = None,
) -> None:
    """Write the job folder: `job.json`, and symbolic links to the inputs.

    Args:
        teacher: the file that `config.distillation` names.
        pixels: folder of decoded images, shared with other jobs; None to keep them in the job folder.
    """
    links = {
        "base_model": base_model,
        "products.parquet": products,
        **{f"images/{name}": path for name, path in images.items()},
    }
    if pixels is not None:
        pixels.mkdir(parents=True, exist_ok=True)
        links["pixels"] = pixels
    if teacher is not None:
        links[TEACHER] = teacher
    for name, target in links.items():
        link = folder / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(target.absolute(), link.parent.resolve()))
    write_json(
        folder / "job.json",
        {
            "config": to_json(config),
            "seed": seed,
            "base_model": "base_model",
            "products": "products.parquet",
            "images": [f"images/{name}" for name in images],
            "teacher": None if teacher is None else TEACHER,
        },
    )


def read_job(folder: Path) -> Job:
    """Return the job in `folder`; raises UserError if there is none or one of its inputs is missing."""
    if not (folder / "job.json").is_file():
        raise UserError(f"{folder}: not a job folder, since it has no job.json")
    values = read_json(folder / "job.json")
    try:
        job = Job(
            config=from_json(values["config"]),
            seed=int(values["seed"]),
            base_model=folder.absolute() / values["base_model"],
            products=folder.absolute() / values["products"],
            images=tuple(folder.absolute() / name for name in values["images"]),
            teacher=None if values["teacher"] is None else folder.absolute() / values["teacher"],
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder / 'job.json'}: not a valid job ({error!r})") from error
    if (job.config.distillation is None) != (job.teacher is None):
        raise UserError(f"{folder / 'job.json'}: it must have a teacher if and only if config.distillation is set")
    for path in (job.base_model, job.products, *job.images, *([job.teacher] if job.teacher else [])):
        if not path.exists():
            raise UserError(f"{folder / 'job.json'}: its input {path} does not exist")
    return job


def run_job(folder: Path, *, stop: Stop = never_stop, trace: Path | None = None) -> Path:
    """Run or resume the job in `folder` and return its `out`. A finished job is not run again.

    With several GPUs, this process starts one training process per GPU, unless torchrun started it.

    Args:
        stop: called between steps; returns whether to stop.
        trace: folder for a profiler trace of a few steps.

    Raises:
        UserError: the inputs are unusable, memory or disk space is insufficient, or too many updates were not finite.
        Interrupted: `stop` returned true. The same call resumes the run.
    """
    out, work = folder / "out", folder / "work"
    if (out / output.CANDIDATES_LIST).is_file():
        return out
    job = read_job(folder)
    device = process_device(resolve_device(job.config.device))
    num_processes = resolve_num_processes(job.config, device)
    if num_processes > 1 and not started_by_torchrun():
        launch(folder, num_processes, stop=stop)
        return out
    with join_processes(device) as world, torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        with closing(TrainingLog(folder / TIMINGS, trace=trace, enabled=world.is_leader)) as log:
            _run(job, folder / "pixels", work, device, world, stop, log)
        with world.leader_first():
            if world.is_leader:
                shutil.rmtree(out, ignore_errors=True)
                (work / "out").rename(out)
                shutil.rmtree(work)
    return out


def _run(job: Job, pixels: Path, work: Path, device: torch.device, world: World, stop: Stop, log: TrainingLog) -> None:
    config = job.config
    items = read_items(job.products, "train", config.kinds)
    validation_items = read_items(job.products, "val", config.kinds)
    if len(validation_items) < 2:
        raise UserError(
            "validation needs at least 2 products in the split `val`, but there is 1; increase the share of `val` in "
            "ingest.datasets.<dataset>.split"
        )
    keep_freed_memory()
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    clip = load(job.base_model, device=device)
    clip.model.visual.to(memory_format=torch.channels_last)

    work.mkdir(parents=True, exist_ok=True)
    packs = ImagePacks(job.images)
    epochs = config.epochs + (0 if config.heads_first is None else config.heads_first.epochs)
    passes = [training_pass(items, config, seed=job.seed, epoch=epoch) for epoch in range(epochs)]
    if len(passes[0].items) < config.batch_size:
        raise UserError(
            f"{len(passes[0].items)} training products are fewer than one batch of {config.batch_size}; "
            "reduce finetune.batch_size in params.yaml or ingest more products"
        )
    validation = validation_pass(validation_items, config)
    texts = sorted(set().union(validation.all_texts, *(each.all_texts for each in passes)))
    digests = sorted({digest for item in items for digest in item.images})
    validation_digests = sorted(set(validation.images))
    with_margin = replace(clip.preprocess, size=round(clip.preprocess.size * CROP_MARGIN))

    @contextmanager
    def open_pixels(digests: list[str], preprocess: Preprocess) -> Iterator[PixelSource]:
        with ExitStack() as stack:
            with world.leader_first():
                source = open_pixel_source(
                    pixels,
                    packs,
                    digests,
                    preprocess,
                    max_bytes=config.pixel_cache_gb * GB,
                    num_processes=max(1, len(os.sched_getaffinity(0)) // world.size - 1),
                    stop=stop,
                )
                opened = stack.enter_context(source)
            yield opened

    product_ids = [item.product_id for item in items]
    teacher = None
    if job.teacher is not None:
        row_of = {digest: row for row, digest in enumerate(digests)}
        teacher = load_targets(
            job.teacher,
            clip,
            load_pooled_images(
                clip,
                lambda: open_pixels(digests, clip.preprocess),
                work / POOLED_TRAINING_IMAGES,
                world=world,
                stop=stop,
            ),
            np.array([row_of[item.images[0]] for item in items], np.int64),
            product_ids,
        )

    # Each of several captions has a loss of its own; the first one stands for them.
    captions = passes[0].texts if config.objective.fields else [row[:1] for row in passes[0].texts]
    logger.info(
        "Training on %s: %d products, %d images, %d captions; %.0f%% of the rows share their caption with another row "
        "of the batch",
        device if world.size == 1 else f"{world.size} × {device.type}",
        len(items),
        len(digests),
        len(texts),
        100 * repeated_fraction(captions, config.batch_size),
    )
    data = TrainingData(
        training=number_passes(passes, digests, texts),
        validation=number_passes([validation], validation_digests, texts),
        texts=texts,
        product_ids=product_ids,
        teacher=teacher,
        open_crops=lambda: open_pixels(digests, with_margin),
        open_training=lambda: open_pixels(digests, clip.preprocess),
        open_validation=lambda: open_pixels(validation_digests, clip.preprocess),
        cache=work,
    )
    train(
        clip,
        config,
        data,
        seed=job.seed,
        world=world,
        checkpoints=work / "checkpoints",
        out_dir=work / "out",
        stop=stop,
        log=log,
    )

"""A training job: a folder with all that one run needs, so that it can be carried to another machine.

    JOB_DIR/job.json      config, seed, and where in the folder (or by symbolic links in it) the inputs are
    JOB_DIR/pixels/       decoded images, which other jobs may share
    JOB_DIR/work/         what an interrupted run goes on from; features of frozen towers
    JOB_DIR/out/          the result: candidates/, candidates.json (written last), history.csv, validation.csv
    JOB_DIR/timings.csv   seconds of each step

To carry it, copy the folder with its links followed (`rsync -rL`).
"""

import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from fclip.errors import UserError
from fclip.files import read_json, write_json
from fclip.images.packs import ImagePacks
from fclip.models.device import resolve_device
from fclip.models.store import Preprocess, load
from fclip.training import output
from fclip.training.compute import keep_freed_memory
from fclip.training.config import FinetuneConfig, from_json, to_json
from fclip.training.data import number_passes, read_items, repeated_fraction, training_pass, validation_pass
from fclip.training.launch import launch, own_device, processes_wanted, started_by_torchrun
from fclip.training.loader import TrainingData
from fclip.training.loop import train
from fclip.training.pixel_sources import GB, PixelSource, open_source
from fclip.training.processes import World, joined
from fclip.training.stop import Stop, never
from fclip.training.training_log import TrainingLog

logger = logging.getLogger(__name__)

TIMINGS = "timings.csv"
CROP_MARGIN = 1.15
"""Training images are decoded this much larger than the model's size, so that crops of them need no enlarging."""


@dataclass(frozen=True)
class Job:
    """What one run reads: paths are absolute.

    Attributes:
        start: a model folder.
        products: Parquet of `dataset, product_id, split, images, captions`.
        images: folders of image packs.
    """

    config: FinetuneConfig
    seed: int
    base_model: Path
    products: Path
    images: tuple[Path, ...]


def write_job(
    folder: Path,
    *,
    config: FinetuneConfig,
    seed: int,
    base_model: Path,
    products: Path,
    images: Mapping[str, Path],
    pixels: Path | None = None,
) -> None:
    """Prepare the job folder `folder`: `job.json`, and links to the inputs where they are.

    Args:
        pixels: where decoded images are kept for other jobs too; None: in the folder.
    """
    links = {
        "base_model": base_model,
        "products.parquet": products,
        **{f"images/{name}": path for name, path in images.items()},
    }
    if pixels is not None:
        pixels.mkdir(parents=True, exist_ok=True)
        links["pixels"] = pixels
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
        },
    )


def read_job(folder: Path) -> Job:
    """The job in `folder`; raises UserError when there is none or what it names is missing."""
    if not (folder / "job.json").is_file():
        raise UserError(f"{folder} is no job folder: it has no job.json")
    values = read_json(folder / "job.json")
    try:
        job = Job(
            config=from_json(values["config"]),
            seed=int(values["seed"]),
            base_model=folder.absolute() / values["base_model"],
            products=folder.absolute() / values["products"],
            images=tuple(folder.absolute() / name for name in values["images"]),
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder / 'job.json'} is no job: {error!r}") from error
    for path in (job.base_model, job.products, *job.images):
        if not path.exists():
            raise UserError(f"{folder / 'job.json'} names {path}, which does not exist")
    return job


def run_job(folder: Path, *, stop: Stop = never, trace: Path | None = None) -> Path:
    """Do what is left of the job in `folder` and return its `out`; a finished job is left as it is.

    With several GPUs it is done by a process for each, which this one starts, unless torchrun started this one.

    Args:
        trace: folder for a profile of a few steps.

    Raises:
        UserError: the inputs cannot be trained on, memory or disk did not suffice, or too many updates were not finite.
        Interrupted: told to stop; the same call goes on from there.
    """
    out, work = folder / "out", folder / "work"
    if (out / output.CANDIDATES_LIST).is_file():
        return out
    job = read_job(folder)
    device = own_device(resolve_device(job.config.device))
    num_processes = processes_wanted(job.config, device)
    if num_processes > 1 and not started_by_torchrun():
        launch(folder, num_processes, stop=stop)
        return out
    with joined(device) as world, torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        log = TrainingLog(folder / TIMINGS, trace=trace, enabled=world.leads)
        _run(job, folder / "pixels", work, device, world, stop, log)
        with world.first():
            if world.leads:
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
            "one validation product tells nothing apart: give ingest.datasets.<dataset>.split a larger share of `val`"
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
            f"{len(passes[0].items)} training products are fewer than one batch of {config.batch_size}: "
            "lower finetune.batch_size in params.yaml, or ingest more products"
        )
    checked = validation_pass(validation_items, config)
    texts = sorted(set().union(checked.all_texts, *(one.all_texts for one in passes)))
    digests = sorted({digest for item in items for digest in item.images})
    checked_digests = sorted(set(checked.images))
    margin = replace(clip.preprocess, size=round(clip.preprocess.size * CROP_MARGIN))

    @contextmanager
    def opened(wanted: list[str], preprocess: Preprocess) -> Iterator[PixelSource]:
        with ExitStack() as stack:
            with world.first():
                source = open_source(
                    pixels,
                    packs,
                    wanted,
                    preprocess,
                    max_bytes=config.pixel_cache_gb * GB,
                    num_processes=max(1, len(os.sched_getaffinity(0)) // world.size - 1),
                    stop=stop,
                )
                entered = stack.enter_context(source)
            yield entered

    logger.info(
        "train on %s: %d products, %d images, %d captions; %.0f%% of a batch share their caption with another",
        device if world.size == 1 else f"{world.size} × {device.type}",
        len(items),
        len(digests),
        len(texts),
        100 * repeated_fraction(passes[0].texts, config.batch_size),
    )
    data = TrainingData(
        training=number_passes(passes, digests, texts),
        validation=number_passes([checked], checked_digests, texts),
        texts=texts,
        product_ids=[item.product_id for item in items],
        open_crops=lambda: opened(digests, margin),
        open_training=lambda: opened(digests, clip.preprocess),
        open_validation=lambda: opened(checked_digests, clip.preprocess),
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

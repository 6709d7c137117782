"""A training job: a folder with all that one run needs, so that it can be carried to another machine.

    JOB_DIR/job.json      config, seed, and where in the folder (or by symbolic links in it) the inputs are
    JOB_DIR/work/         what an interrupted run goes on from; pixels and text features made once
    JOB_DIR/out/          the result: candidates/, candidates.json (written last), history.csv, validation.csv

To carry it, copy the folder with its links followed (`rsync -rL`).
"""

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fclip.errors import UserError
from fclip.files import read_json, write_json
from fclip.images.packs import ImagePacks
from fclip.models.device import resolve_device
from fclip.models.store import load
from fclip.training import output, parts
from fclip.training.config import FinetuneConfig, from_json, to_json
from fclip.training.data import Pass, index, read_items, repeated_fraction, training_pass, validation_pass
from fclip.training.decoded import decoded_images
from fclip.training.loop import Pairs, train
from fclip.training.memory import keep_freed_memory
from fclip.training.stop import Stop, never
from fclip.training.texts import frozen_texts, live_texts

logger = logging.getLogger(__name__)

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
    start: Path
    products: Path
    images: tuple[Path, ...]


def write_job(
    folder: Path, *, config: FinetuneConfig, seed: int, start: Path, products: Path, images: Mapping[str, Path]
) -> None:
    """Prepare the job folder `folder`: `job.json`, and links to the inputs where they are."""
    links = {"start": start, "products.parquet": products, **{f"images/{name}": path for name, path in images.items()}}
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
            "start": "start",
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
            start=folder.absolute() / values["start"],
            products=folder.absolute() / values["products"],
            images=tuple(folder.absolute() / name for name in values["images"]),
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder / 'job.json'} is no job: {error!r}") from error
    for path in (job.start, job.products, *job.images):
        if not path.exists():
            raise UserError(f"{folder / 'job.json'} names {path}, which does not exist")
    return job


def run_job(folder: Path, *, stop: Stop = never) -> Path:
    """Do what is left of the job in `folder` and return its `out`; a finished job is left as it is.

    Raises:
        UserError: the inputs cannot be trained on, or the loss left the finite numbers.
        Interrupted: told to stop; the same call goes on from there.
    """
    out, work = folder / "out", folder / "work"
    if (out / output.CANDIDATES_LIST).is_file():
        return out
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        _run(read_job(folder), work, stop)
    shutil.rmtree(out, ignore_errors=True)
    (work / "out").rename(out)
    shutil.rmtree(work)
    return out


def _run(job: Job, work: Path, stop: Stop) -> None:
    config = job.config
    items = read_items(job.products, "train", config.captions)
    validation_items = read_items(job.products, "val", config.captions)
    if len(items) < config.batch_size:
        raise UserError(
            f"{len(items)} training products are fewer than one batch of {config.batch_size}: "
            "lower finetune.batch_size in params.yaml, or ingest more products"
        )
    if len(validation_items) < 2:
        raise UserError(
            "one validation product tells nothing apart: give ingest.datasets.<dataset>.split a larger share of `val`"
        )
    keep_freed_memory()
    device = resolve_device(config.device)
    clip = load(job.start, device=device)
    clip.model.visual.to(memory_format=torch.channels_last)
    parts.freeze_others(clip.model, parts.trained_names(clip.model, config.trainable))

    work.mkdir(parents=True, exist_ok=True)
    packs = ImagePacks(job.images)
    passes = [training_pass(items, config.captions, seed=job.seed, epoch=epoch) for epoch in range(config.epochs)]
    checked = validation_pass(validation_items, config.captions)
    digests = sorted({digest for item in items for digest in item.images})
    margin = replace(clip.preprocess, size=round(clip.preprocess.size * CROP_MARGIN))
    pixels = decoded_images(packs, digests, margin, work / "training-pixels.npy", stop=stop)
    checked_digests = sorted(set(checked.images))
    checked_pixels = decoded_images(packs, checked_digests, clip.preprocess, work / "validation-pixels.npy", stop=stop)
    texts = sorted({text for one in (*passes, checked) for text in one.texts})
    if config.trainable == "all":
        features = live_texts(clip, texts)
    else:
        features = frozen_texts(clip, texts, work / "captions.safetensors", stop=stop)
    logger.info(
        "train %s on %s: %d products, %d images, %d captions; %.0f%% of a batch share their caption with another",
        config.trainable,
        device,
        len(items),
        len(digests),
        len(texts),
        100 * repeated_fraction(passes[0].texts, config.batch_size),
    )
    train(
        clip,
        config,
        seed=job.seed,
        training=Pairs(pixels, *_rows(passes, digests, texts)),
        validation=Pairs(checked_pixels, *_rows([checked], checked_digests, texts)),
        texts=features,
        checkpoint_path=work / "checkpoint.pt",
        out_dir=work / "out",
        stop=stop,
    )


def _rows(
    passes: Sequence[Pass], digests: Sequence[str], texts: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    of_digest = {digest: row for row, digest in enumerate(digests)}
    of_text = {text: row for row, text in enumerate(texts)}
    return (
        np.stack([index(one.images, of_digest) for one in passes]),
        np.stack([index(one.texts, of_text) for one in passes]),
    )

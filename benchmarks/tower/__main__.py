"""What an image tower costs on a CPU, forward and backward, and what was tried to cut it.

python -m benchmarks.tower --work DIR [--model DIR] [--repeats N] [--out JSON]

Times are medians of interleaved runs: forward on one core (1 picture, 32 pictures) and on all cores, backward on all.
The cost of a variant is the mean cosine of its features with those of the tower as loaded, and zero-shot scores on
products that were not trained on (KAGL, from FCLIP_DATASETS; the first run prepares the datasets in DIR).
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.command import run_benchmark
from benchmarks.tiny.workspace import add_arguments, dataset_and_config, model_folder, workspace_in
from benchmarks.tower.timing import TowerTiming, median_timings
from benchmarks.tower.variants import Tower, backward_variants, forward_variants
from fclip.evaluation.catalog import read_catalog
from fclip.evaluation.outcomes import equal_weights
from fclip.evaluation.protocols.zero_shot import ZeroShot, ZeroShotConfig, class_embeddings, classify, zero_shot
from fclip.features.encode import encode_texts
from fclip.features.similarity import FloatArray
from fclip.images.packs import ImagePacks
from fclip.images.pixels import decode
from fclip.images.tensors import normalise
from fclip.models import store
from fclip.training.compute import keep_freed_memory

CATALOG = "kagl"
CALIBRATION = 256
WIDTH = 130


def measure(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Return the times of all variants, and the cost of each."""
    keep_freed_memory()  # as training does
    workspace = workspace_in(arguments.work)
    clip = store.load(model_folder(workspace, arguments.model))
    tower: Any = clip.model.visual
    tower.requires_grad_(False)
    files, config = dataset_and_config(workspace, CATALOG)
    judged = config.protocols["classification"]
    assert isinstance(judged, ZeroShotConfig)
    catalog = read_catalog(files, with_captions=False)
    items = {split: zero_shot(judged, catalog, split, config.max_items) for split in ("val", "test")}
    packs = ImagePacks([files.images])
    pixels = {
        split: normalise(
            torch.from_numpy(np.stack([decode(packs.read(digest), clip.preprocess) for digest in digests])),
            clip.preprocess,
        )
        for split, digests in (
            ("val", items["val"].images[:CALIBRATION]),
            ("test", items["test"].images),
        )
    }
    forward = {name: make() for name, make in forward_variants(tower, pixels["val"]).items()}
    backward = {name: make() for name, make in backward_variants(tower).items()}
    times = median_timings(forward, backward, pixels["val"], repeats=arguments.repeats)
    test = items["test"]
    classes = class_embeddings(encode_texts(clip, test.texts), test.num_prompts)
    own = features(tower, pixels["test"])
    changes = {name: _change(own, features(made, pixels["test"]), classes, test) for name, made in forward.items()}
    found = {
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "model_sha256": clip.model_sha256,
        "image_size": clip.preprocess.size,
        "times": [vars(timed) for timed in times],
        "changes": changes,
    }
    show(console, times, changes)
    return found


@torch.inference_mode()
def features(tower: Tower, pixels: torch.Tensor) -> FloatArray:
    """float32 [n, d], not normalised, of pixels [n, 3, side, side]."""
    rows: FloatArray = torch.cat([tower(batch).float() for batch in pixels.split(32)]).numpy()
    return rows


def _change(own: FloatArray, found: FloatArray, classes: FloatArray, items: ZeroShot) -> dict[str, float]:
    cosines = (own * found).sum(1) / np.linalg.norm(own, axis=1) / np.linalg.norm(found, axis=1)
    outcome = classify(found, classes, items.labels, items.num_embeddings)
    metrics = outcome.metrics(equal_weights(outcome))
    return {
        "mean_cosine": float(cosines.mean()),
        "acc1": float(metrics["acc1"][0]),
        "weighted_f1": float(metrics["weighted_f1"][0]),
    }


def show(console: Console, times: list[TowerTiming], changes: dict[str, dict[str, float]]) -> None:
    """A row a variant, a column a way of running it, in milliseconds an image and as a share of the first row's."""
    columns = list(dict.fromkeys(timed.column for timed in times))
    by_place = {(timed.variant, timed.column): timed.milliseconds for timed in times}
    table = Table(title="Milliseconds an image (and times as fast as loaded)", title_justify="left")
    table.add_column("")
    for column in (*columns, "cosine", "wF1"):
        table.add_column(column, justify="right")
    for variant in dict.fromkeys(timed.variant for timed in times):
        cells = []
        for column in columns:
            found, first = by_place.get((variant, column)), by_place["as loaded", column]
            cells.append("" if found is None else f"{found:.2f} ({first / found:.2f})")
        if change := changes.get(variant):  # variants of training alone have none
            cells += [f"{change['mean_cosine']:.4f}", f"{change['weighted_f1']:.3f}"]
        table.add_row(variant, *cells)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tower", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument("--repeats", type=int, default=7, help="interleaved runs, of which medians are taken")
    parser.add_argument("--out", type=Path)
    run_benchmark(parser, measure, Console(width=None if sys.stdout.isatty() else WIDTH))


if __name__ == "__main__":
    main()

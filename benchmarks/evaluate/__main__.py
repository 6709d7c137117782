"""Evaluating several models on kagl, against the loops of clip-benchmark and marqo-FashionCLIP.

python -m benchmarks.evaluate --work DIR [--models N] [--products N] [--repeats N] [--out JSON]

The models are what fclip-tiny was trained from, and copies of it that differ a little from the first layer on. Each
side evaluates every model by zero-shot classification, retrieval and three searches by category, from images as they
are stored to metrics, starting with an empty cache. Runs are interleaved; medians are shown.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file

from benchmarks.command import run_benchmark
from benchmarks.evaluate import peers
from benchmarks.paths import PRESET
from benchmarks.tiny.workspace import dataset_and_config, workspace_in
from fclip.base_models.towers import TowersConfig
from fclip.evaluation.bootstrap import Resampling
from fclip.evaluation.catalog import DatasetFiles, read_catalog
from fclip.evaluation.config import DatasetEvaluation
from fclip.evaluation.protocols.attribute_search import AttributeSearch, AttributeSearchConfig, attribute_search
from fclip.evaluation.protocols.retrieval import RetrievalConfig, retrieval
from fclip.evaluation.protocols.zero_shot import ZeroShotConfig, zero_shot
from fclip.evaluation.run import RunOptions, evaluate_models
from fclip.files import read_json
from fclip.images.packs import ImagePacks
from fclip.models import store
from tasks.base_model import base_model_folder

STEM = "visual.trunk.conv_stem.weight"
DATASET, SPLIT, ROLE = "kagl", "test", "report"
WIDTH = 110


def measure(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Seconds of both sides, and that they find the same."""
    workspace = workspace_in(arguments.work)
    base_model = base_model_folder(workspace, TowersConfig(kind="towers", image_size=96, context_length=64))
    models = model_variants(base_model, arguments.work / "models", arguments.models)
    files, config = dataset_and_config(workspace, DATASET, preset=PRESET)
    config = replace(config, max_items=arguments.products, protocols=compared_protocols(config))
    cache = arguments.work / "features"
    if arguments.peak:
        Path("/proc/self/clear_refs").write_text(
            "5"
        )  # the peak is that of what follows: composing the base model took more
        evaluate_with_fclip(models, files, config, cache)
        status = Path("/proc/self/status").read_text().splitlines()
        return {"peak_mib": next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 2**10}
    sides: dict[str, Callable[[], dict[str, float]]] = {
        "fclip": lambda: evaluate_with_fclip(models, files, config, cache),
        "peers": lambda: evaluate_with_peers(models, files, config),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    found: dict[str, dict[str, float]] = {}
    for number in range(arguments.repeats):
        for name, side in sides.items():
            begin = time.perf_counter()
            found[name] = side()
            seconds[name].append(time.perf_counter() - begin)
            console.print(f"{name}, run {number + 1}: {seconds[name][-1]:.1f} s", highlight=False)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    result = {
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "models": len(models),
        "products": arguments.products,
        "seconds": seconds,
        "ratio": medians["peers"] / medians["fclip"],
        "scores": found,
        "peak_mib": {size: peak_mib(arguments, size) for size in (arguments.products // 3, arguments.products)},
    }
    show(console, result, medians)
    return result


def peak_mib(arguments: argparse.Namespace, products: int) -> float:
    """The most memory that our side takes, in a process of its own."""
    with TemporaryDirectory() as folder:
        out = Path(folder) / "peak.json"
        command = [
            sys.executable,
            "-m",
            "benchmarks.evaluate",
            "--peak",
            "--work",
            str(arguments.work),
            "--out",
            str(out),
        ]
        subprocess.run([*command, "--models", "1", "--products", str(products)], check=True, stdout=subprocess.DEVNULL)
        return float(read_json(out)["peak_mib"])


def compared_protocols(config: DatasetEvaluation) -> dict[str, Any]:
    """What both sides do: the preset's classification and retrieval, and its searches by category."""
    kinds = (ZeroShotConfig, RetrievalConfig, AttributeSearchConfig)
    wanted = {name: own for name, own in config.protocols.items() if isinstance(own, kinds)}
    searches = [name for name, own in wanted.items() if isinstance(own, AttributeSearchConfig)][3:]
    extra = [name for name, own in wanted.items() if isinstance(own, ZeroShotConfig)][1:]
    return {name: own for name, own in wanted.items() if name not in (*searches, *extra)}


def model_variants(base_model: Path, out_dir: Path, count: int) -> dict[str, Path]:
    """Return `count` models: the base model, and copies whose first layer differs slightly, so all features differ."""
    found = {"base-model": base_model}
    state = load_file(base_model / store.WEIGHTS)
    for number in range(1, count):
        folder = out_dir / f"variant-{number}"
        if not folder.is_dir():
            folder.mkdir(parents=True)
            changed = {
                name: tensor * (1 + 0.001 * number) if name == STEM else tensor for name, tensor in state.items()
            }
            store.save(changed, config_from=base_model, out_dir=folder)
        found[folder.name] = folder
    return found


def evaluate_with_fclip(
    models: Mapping[str, Path], files: DatasetFiles, config: DatasetEvaluation, cache: Path
) -> dict[str, float]:
    """Primary-like scores of the base model, by one evaluation of all models from an empty cache."""
    shutil.rmtree(cache, ignore_errors=True)
    options = RunOptions("auto", 256, Resampling(resamples=1000, confidence=0.95, seed=0))
    evaluation = evaluate_models(models, files, config, cache=cache, options=options, roles=(ROLE,))
    scores = {f"{s.protocol}.{s.metric}": s.estimate.value for s in evaluation.scores if s.model == "base-model"}
    wanted = {"acc1", "text_to_image.hit_at_10", "precision_at_10"}
    return {name: value for name, value in scores.items() if name.partition(".")[2] in wanted}


def evaluate_with_peers(models: Mapping[str, Path], files: DatasetFiles, config: DatasetEvaluation) -> dict[str, float]:
    """The same of every model, by the peers' loops; returns the base model's."""
    catalog = read_catalog(files, with_captions=True)
    packs, workers = ImagePacks([files.images]), os.cpu_count() or 1
    found: dict[str, float] = {}
    for name, folder in models.items():
        peer = peers.load_peer(folder)
        scores: dict[str, float] = {}
        embeddings: torch.Tensor | None = None
        for protocol, own in config.protocols.items():
            match own:
                case ZeroShotConfig():
                    task = zero_shot(own, catalog, SPLIT, config.max_items)
                    scores[f"{protocol}.acc1"] = peers.classification(peer, packs, task, workers)
                case RetrievalConfig():
                    titles = retrieval(own, catalog, SPLIT, config.max_items)
                    hits = peers.retrieval(peer, packs, titles, workers)
                    scores[f"{protocol}.text_to_image.hit_at_10"] = hits
                case AttributeSearchConfig():
                    search: AttributeSearch = attribute_search(own, catalog, SPLIT, config.max_items)
                    if embeddings is None:
                        embeddings = peers.document_embeddings(peer, packs, search, workers)
                    scores[f"{protocol}.precision_at_10"] = peers.attribute_search(peer, embeddings, search)
        if name == "base-model":
            found = scores
    return found


def show(console: Console, result: dict[str, Any], medians: Mapping[str, float]) -> None:
    """A row a score, and the seconds."""
    table = Table(title=f"{result['models']} models, {result['products']} products", title_justify="left")
    for column in ("", "fclip", "peers"):
        table.add_column(column, justify="left" if not column else "right")
    for name in result["scores"]["peers"]:
        table.add_row(name, *(f"{result['scores'][side].get(name, float('nan')):.4f}" for side in ("fclip", "peers")))
    table.add_row("seconds, median", *(f"{medians[side]:.1f}" for side in ("fclip", "peers")))
    console.print(table)
    console.print(f"{result['ratio']:.2f} times as fast", highlight=False)
    for size, peak in result["peak_mib"].items():
        console.print(f"{peak:,.0f} MiB at most with {size} products", highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="where datasets are laid out, and stay")
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--products", type=int, default=3000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peak", action="store_true", help="measure the memory of our side alone")
    parser.add_argument("--out", type=Path)
    run_benchmark(parser, measure, Console(width=None if sys.stdout.isatty() else WIDTH))


if __name__ == "__main__":
    main()

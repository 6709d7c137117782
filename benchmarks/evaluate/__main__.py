"""Compare the evaluation of several models on kagl with the loops of clip-benchmark and marqo-FashionCLIP.

python -m benchmarks.evaluate --work DIR [--models N] [--products N] [--repeats N] [--out JSON]

The models are the base model of fclip-tiny and copies of it that differ slightly from the first layer on. fclip and the
other tools ("peers") evaluate every model by zero-shot classification, retrieval and three searches by category. Each
run starts from stored images and an empty cache and ends with the metrics. Runs are interleaved, and medians are shown.
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
from fclip.models.folder import WEIGHTS
from tasks.base_model import base_model_folder

STEM = "visual.trunk.conv_stem.weight"
DATASET, SPLIT, ROLE = "kagl", "test", "report"
WIDTH = 110


def measure(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Return the seconds and the scores of fclip and of the peers, or only fclip's peak memory with `--peak`."""
    workspace = workspace_in(arguments.work)
    base_model = base_model_folder(workspace, TowersConfig(kind="towers", image_size=96, context_length=64))
    models = model_variants(base_model, arguments.work / "models", arguments.models)
    files, config = dataset_and_config(workspace, DATASET, preset=PRESET)
    config = replace(config, max_items=arguments.products, protocols=compared_protocols(config))
    cache = arguments.work / "features"
    if arguments.peak:
        # Reset the peak: composing the base model has used more memory than the evaluation will.
        Path("/proc/self/clear_refs").write_text("5")
        evaluate_with_fclip(models, files, config, cache)
        status = Path("/proc/self/status").read_text().splitlines()
        return {"peak_mib": next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 2**10}
    tools: dict[str, Callable[[], dict[str, float]]] = {
        "fclip": lambda: evaluate_with_fclip(models, files, config, cache),
        "peers": lambda: evaluate_with_peers(models, files, config),
    }
    seconds: dict[str, list[float]] = {name: [] for name in tools}
    scores: dict[str, dict[str, float]] = {}
    for number in range(arguments.repeats):
        for name, evaluate in tools.items():
            begin = time.perf_counter()
            scores[name] = evaluate()
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
        "scores": scores,
        "peak_mib": {size: peak_mib(arguments, size) for size in (arguments.products // 3, arguments.products)},
    }
    show_results(console, result, medians)
    return result


def peak_mib(arguments: argparse.Namespace, products: int) -> float:
    """Return the peak memory of fclip's evaluation of one model, in MiB, measured in a separate process."""
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
    """Return the protocols that all tools evaluate: classification, retrieval and three searches by category."""
    kinds = (ZeroShotConfig, RetrievalConfig, AttributeSearchConfig)
    compared = {name: each for name, each in config.protocols.items() if isinstance(each, kinds)}
    other_searches = [name for name, each in compared.items() if isinstance(each, AttributeSearchConfig)][3:]
    other_zero_shot = [name for name, each in compared.items() if isinstance(each, ZeroShotConfig)][1:]
    return {name: each for name, each in compared.items() if name not in (*other_searches, *other_zero_shot)}


def model_variants(base_model: Path, out_dir: Path, count: int) -> dict[str, Path]:
    """Return `count` models: the base model, and copies with a slightly scaled first layer.

    The features of every layer differ between the models, so no cached feature of one serves another.
    """
    folders = {"base-model": base_model}
    state = load_file(base_model / WEIGHTS)
    for number in range(1, count):
        folder = out_dir / f"variant-{number}"
        if not folder.is_dir():
            folder.mkdir(parents=True)
            changed = {
                name: tensor * (1 + 0.001 * number) if name == STEM else tensor for name, tensor in state.items()
            }
            store.save(changed, config_from=base_model, out_dir=folder)
        folders[folder.name] = folder
    return folders


def evaluate_with_fclip(
    models: Mapping[str, Path], files: DatasetFiles, config: DatasetEvaluation, cache: Path
) -> dict[str, float]:
    """Evaluate all models with fclip from an empty cache, and return the compared scores of the base model."""
    shutil.rmtree(cache, ignore_errors=True)
    options = RunOptions("auto", 256, Resampling(resamples=1000, confidence=0.95, seed=0))
    evaluation = evaluate_models(models, files, config, cache=cache, options=options, roles=(ROLE,))
    scores = {f"{s.protocol}.{s.metric}": s.estimate.value for s in evaluation.scores if s.model == "base-model"}
    compared = {"acc1", "text_to_image.hit_at_10", "precision_at_10"}
    return {name: value for name, value in scores.items() if name.partition(".")[2] in compared}


def evaluate_with_peers(models: Mapping[str, Path], files: DatasetFiles, config: DatasetEvaluation) -> dict[str, float]:
    """Evaluate all models with the loops of the peers, and return the scores of the base model."""
    catalog = read_catalog(files, with_captions=True)
    packs, workers = ImagePacks([files.images]), os.cpu_count() or 1
    base_model_scores: dict[str, float] = {}
    for name, folder in models.items():
        peer = peers.load_peer(folder)
        scores: dict[str, float] = {}
        embeddings: torch.Tensor | None = None
        for protocol, protocol_config in config.protocols.items():
            match protocol_config:
                case ZeroShotConfig():
                    task = zero_shot(protocol_config, catalog, SPLIT, config.max_items)
                    scores[f"{protocol}.acc1"] = peers.classification(peer, packs, task, workers)
                case RetrievalConfig():
                    titles = retrieval(protocol_config, catalog, SPLIT, config.max_items)
                    hits = peers.retrieval(peer, packs, titles, workers)
                    scores[f"{protocol}.text_to_image.hit_at_10"] = hits
                case AttributeSearchConfig():
                    search: AttributeSearch = attribute_search(protocol_config, catalog, SPLIT, config.max_items)
                    if embeddings is None:
                        embeddings = peers.document_embeddings(peer, packs, search, workers)
                    scores[f"{protocol}.precision_at_10"] = peers.attribute_search(peer, embeddings, search)
        if name == "base-model":
            base_model_scores = scores
    return base_model_scores


def show_results(console: Console, result: dict[str, Any], medians: Mapping[str, float]) -> None:
    """Print one row per score, the seconds, the ratio and the peak memory."""
    table = Table(title=f"{result['models']} models, {result['products']} products", title_justify="left")
    for column in ("", "fclip", "peers"):
        table.add_column(column, justify="left" if not column else "right")
    for name in result["scores"]["peers"]:
        table.add_row(name, *(f"{result['scores'][tool].get(name, float('nan')):.4f}" for tool in ("fclip", "peers")))
    table.add_row("seconds, median", *(f"{medians[tool]:.1f}" for tool in ("fclip", "peers")))
    console.print(table)
    console.print(f"fclip is {result['ratio']:.2f} times as fast", highlight=False)
    for size, peak in result["peak_mib"].items():
        console.print(f"fclip's peak memory with {size} products: {peak:,.0f} MiB", highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for the workspace, which is kept")
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--products", type=int, default=3000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peak", action="store_true", help="measure only the peak memory of fclip")
    parser.add_argument("--out", type=Path)
    run_benchmark(parser, measure, Console(width=None if sys.stdout.isatty() else WIDTH))


if __name__ == "__main__":
    main()

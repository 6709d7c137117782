"""How fast training goes: against open_clip's own, near to stepping on data in memory, and to a given quality.

python -m benchmarks.train [--device cuda] [--precisions fp32 bf16] [--rounds 3] [--steps N] [--epochs N] [--no-peer]
                           [--workers N …] [--quality] [--no-speed] [--out JSON]

Everything runs on this machine in one go, in processes of their own, in turn. Give it the machine for itself.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks.command import run_benchmark
from benchmarks.ingest.machine import machine_facts
from benchmarks.paths import CACHE, DATASETS
from benchmarks.train import report
from benchmarks.train.gpu import gpu_facts, peak_flops
from benchmarks.train.inputs import write_training_input
from benchmarks.train.models import training_flops, write_base_model
from benchmarks.train.open_clip_trainer import OpenClipTrainer, install
from benchmarks.train.precision import measure_towers
from benchmarks.train.quality import measure_quality
from benchmarks.train.setup import Precision, TrainingSetup, cpu_setup, cuda_setup
from benchmarks.train.speed import FCLIP, measure_training_speed
from benchmarks.train.throughput import TrainingRun
from fclip.errors import UserError

STEPS = {"cpu": 40, "cuda": 150}
WIDTH = 120


def measure(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run the requested measurements, show each table as soon as it is complete, and return all results."""
    setup = _setup(arguments)
    facts = {**machine_facts(), "threads": torch.get_num_threads()}
    if arguments.device == "cuda":
        if not torch.cuda.is_available():
            raise UserError("torch sees no GPU: leave --device cuda out")
        facts |= gpu_facts()
    peer = None
    if not arguments.no_peer and not arguments.no_speed:
        peer = install(CACHE)
        facts |= peer.versions()
    report.show_machine(console, facts)
    results: dict[str, Any] = {"machine": facts, "rounds": arguments.rounds}
    with tempfile.TemporaryDirectory(prefix="fclip-benchmark-", dir=arguments.work) as temporary:
        work = Path(temporary).resolve()
        if not arguments.no_speed:
            results |= _measure_speeds(setup, arguments, peer, facts, work / "speed", console)
        if arguments.quality:
            quality = measure_quality(
                DATASETS, work / "quality", device=arguments.device, limit=arguments.limit, show_progress=console.print
            )
            report.show_quality(console, quality)
            results["quality"] = asdict(quality)
    return results


def _measure_speeds(
    setup: TrainingSetup,
    arguments: argparse.Namespace,
    peer: OpenClipTrainer | None,
    facts: dict[str, object],
    work: Path,
    console: Console,
) -> dict[str, Any]:
    data = write_training_input(
        DATASETS, work / "data", num_products=setup.num_products, num_validation=setup.batch_size
    )
    base_model = write_base_model(work / "base-model", setup.model_cfg)
    flops = training_flops(base_model)
    results: dict[str, Any] = {"setup": asdict(setup), "flops_per_sample": flops, "speed": {}}
    ours: dict[Precision, tuple[TrainingRun, ...]] = {}
    models: dict[str, Mapping[Precision, tuple[TrainingRun, ...]]] = {setup.model: ours}
    for precision in setup.precisions:
        speed = measure_training_speed(
            *(data, work / "runs", setup),
            base_model=base_model,
            precision=precision,
            rounds=arguments.rounds,
            peer=peer,
            show_progress=console.print,
        )
        report.show_speed(console, setup, speed, flops=flops, peak=peak_flops(str(facts.get("gpu", "")), precision))
        results["speed"][precision] = {
            **asdict(speed),
            "rates": {name: speed.rate(name) for name in speed.runs},
            "whole_rates": {name: speed.whole_rate(name) for name in speed.runs},
            "ratios": speed.ratios,
            "extra_time": speed.extra_time,
        }
        ours[precision] = speed.runs[FCLIP]
    if not arguments.no_towers:
        towers = measure_towers(
            DATASETS, work / "towers", device=setup.device, rounds=arguments.rounds, show_progress=console.print
        )
        models["towers, image tower tuned"] = towers
        results["towers"] = {name: [asdict(run) | {"rate": run.rate} for run in runs] for name, runs in towers.items()}
    report.show_precisions(console, setup.device, models)
    return results


def _setup(arguments: argparse.Namespace) -> TrainingSetup:
    given: dict[str, Any] = {
        "steps": arguments.steps or STEPS[arguments.device],
        "epochs": arguments.epochs,
        "workers": arguments.workers and tuple(arguments.workers),
    }
    if arguments.device == "cuda":
        return cuda_setup(precisions=tuple(arguments.precisions or ("bf16",)), compile=arguments.compile, **given)
    return cpu_setup(precisions=tuple(arguments.precisions or ("fp32", "bf16")), **given)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="cuda: ViT-B/32, batches of 1,024")
    parser.add_argument("--precisions", nargs="+", choices=["fp32", "bf16"], help="both on a CPU, bf16 on a GPU")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, in turn; medians are shown")
    parser.add_argument("--steps", type=int, help=f"of an epoch; {STEPS['cpu']} on a CPU, {STEPS['cuda']} on a GPU")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--workers", type=int, nargs="+", help="data workers that open_clip is tried with")
    parser.add_argument("--compile", action="store_true", help="torch.compile on both sides (GPU)")
    parser.add_argument("--no-peer", action="store_true", help="without open_clip's training")
    parser.add_argument("--no-towers", action="store_true", help="without `towers` in both precisions")
    parser.add_argument("--no-speed", action="store_true", help="--quality alone")
    parser.add_argument("--quality", action="store_true", help="also the minutes to a given score; takes half an hour")
    parser.add_argument("--limit", type=int, help="rows of kagl for --quality; all of them without")
    parser.add_argument("--work", type=Path, help="where files are laid out meanwhile (2 GB; on a GPU 12)")
    parser.add_argument("--out", type=Path, help="write all measurements there, as JSON")
    run_benchmark(parser, measure, Console(width=None if sys.stdout.isatty() else WIDTH))


if __name__ == "__main__":
    main()

"""Measure the speed of ingest, compared with img2dataset and with decoding alone.

Options add the peak memory and the time of an incremental ingest.

python -m benchmarks.ingest [--datasets kagl clothing] [--rounds 3] [--limit N] [--memory] [--incremental] [--out JSON]

All measurements run one after another on this machine, each in a separate process. Run nothing else at the same time.
"""

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.command import run_benchmark
from benchmarks.ingest import report
from benchmarks.ingest.img2dataset import install
from benchmarks.ingest.inputs import preset_dataset
from benchmarks.ingest.machine import machine_facts
from benchmarks.ingest.scale import measure_incremental, measure_memory
from benchmarks.ingest.speed import measure_ingest_speed
from benchmarks.paths import CACHE, DATASETS

VARIED_DATASET = "kagl"  # measured by --memory (repeated) and --incremental (changed)


def measure(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run the selected measurements, print each table when it is ready, and return all results."""
    presets = {name: preset_dataset(name, DATASETS) for name in arguments.datasets}
    facts = machine_facts()
    peer = None
    if not arguments.no_peer and arguments.datasets:
        console.print(f"img2dataset is installed in {CACHE / 'img2dataset'}")
        peer = install(CACHE)
        facts |= {f"{name} (img2dataset)": version for name, version in peer.versions().items()}
    report.show_machine(console, facts)
    results: dict[str, Any] = {"machine": facts, "limit": arguments.limit, "rounds": arguments.rounds, "speed": {}}
    with tempfile.TemporaryDirectory(prefix="fclip-benchmark-", dir=arguments.work) as temporary:
        work = Path(temporary).resolve()
        for name, values in presets.items():
            speed = measure_ingest_speed(
                *(name, DATASETS, values, work / name, arguments.limit),
                rounds=arguments.rounds,
                peer=peer,
                show_progress=console.print,
            )
            report.show_speed(console, name, speed)
            results["speed"][name] = {**asdict(speed), "ratios": speed.ratios}
        kagl = preset_dataset(VARIED_DATASET, DATASETS) if arguments.memory or arguments.incremental else {}
        if arguments.incremental:
            incremental = measure_incremental(
                VARIED_DATASET, kagl, work / "incremental", arguments.limit, rounds=arguments.rounds
            )
            report.show_incremental(console, VARIED_DATASET, incremental)
            results["incremental"] = {**asdict(incremental), "old_packs_unchanged": incremental.old_packs_unchanged}
        if arguments.memory:
            memory = measure_memory(
                VARIED_DATASET, kagl, work / "memory", arguments.limit, repetitions=arguments.repetitions
            )
            report.show_memory(console, VARIED_DATASET, memory)
            results["memory"] = asdict(memory)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ingest", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--datasets", nargs="*", default=["kagl", "clothing"], help="names in params/kagl.yaml")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved runs of each tool; medians are shown")
    parser.add_argument("--limit", type=int, help="number of images per dataset, spread evenly (default: all)")
    parser.add_argument("--memory", action="store_true", help="also measure the peak memory with repeated rows")
    parser.add_argument("--repetitions", type=int, default=10, help="number of repetitions of the rows for --memory")
    parser.add_argument("--incremental", action="store_true", help="also measure an ingest after small changes")
    parser.add_argument("--no-peer", action="store_true", help="do not run img2dataset")
    parser.add_argument("--work", type=Path, help="folder for temporary files, 3 GB (default: the system's)")
    parser.add_argument("--out", type=Path, help="JSON file for all measurements")
    run_benchmark(parser, measure, Console())


if __name__ == "__main__":
    main()

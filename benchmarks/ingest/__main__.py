"""How fast catalogs come in: against img2dataset, and near to decoding alone; memory; the next day's ingest.

python -m benchmarks.ingest [--datasets kagl clothing] [--rounds 3] [--limit N] [--memory] [--incremental] [--out JSON]

Everything runs on this machine in one go, in processes of their own, in turn. Give it the machine for itself.
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
from benchmarks.ingest.inputs import preset
from benchmarks.ingest.machine import machine
from benchmarks.ingest.scale import measure_incremental, measure_memory
from benchmarks.ingest.speed import measure_ingest_speed
from benchmarks.paths import CACHE, DATASETS

VARIED_DATASET = "kagl"  # what is repeated, and changes overnight


def measure(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """IngestRun what was asked for, showing each table when it is there; returns all measurements."""
    presets = {name: preset(name, DATASETS) for name in arguments.datasets}
    facts = machine()
    peer = None
    if not arguments.no_peer and arguments.datasets:
        console.print(f"img2dataset: its environment is {CACHE / 'img2dataset'}")
        peer = install(CACHE)
        facts |= {f"img2dataset's {name}": version for name, version in peer.versions().items()}
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
        kagl = preset(VARIED_DATASET, DATASETS) if arguments.memory or arguments.incremental else {}
        if arguments.incremental:
            found = measure_incremental(
                VARIED_DATASET, kagl, work / "incremental", arguments.limit, rounds=arguments.rounds
            )
            report.show_incremental(console, VARIED_DATASET, found)
            results["incremental"] = {**asdict(found), "holds": found.holds}
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
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, in turn; medians are shown")
    parser.add_argument("--limit", type=int, help="images of each dataset, spread over it; all of them without")
    parser.add_argument("--memory", action="store_true", help="also the peak at many times the rows; takes minutes")
    parser.add_argument("--repetitions", type=int, default=10, help="how many times the rows, for --memory")
    parser.add_argument("--incremental", action="store_true", help="also the next day's ingest")
    parser.add_argument("--no-peer", action="store_true", help="without img2dataset")
    parser.add_argument("--work", type=Path, help="where files are laid out meanwhile (3 GB); the system's otherwise")
    parser.add_argument("--out", type=Path, help="write all measurements there, as JSON")
    run_benchmark(parser, measure, Console())


if __name__ == "__main__":
    main()

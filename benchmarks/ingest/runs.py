"""One measured run in a separate process, so that no cache but the disk's is warm.

python -m benchmarks.ingest.runs ingest WORKSPACE DATASET [--parts]
python -m benchmarks.ingest.runs decode FOLDER WORKERS (threads | processes) [WORKSPACE]

The last line of standard output contains the measurements as JSON.
"""

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.ingest.cpu_profile import CpuProfile
from benchmarks.paths import REPOSITORY
from fclip.errors import UserError
from tasks.workspace.paths import Workspace

WORKERS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class IngestRun:
    """One measured `ingest`.

    Attributes:
        whole_seconds: duration of the process.
        seconds: duration of `ingest`, without imports.
        import_seconds: duration of the imports.
        cpu_seconds: CPU time of all threads during `ingest`; main_thread_seconds: of the main thread.
        peak_bytes: peak resident memory of the process, libraries included.
        num_rows, num_products, num_images: as in `ingest.json`.
        parts: CPU seconds by part (`benchmarks.ingest.cpu_profile`), in sum `cpu_seconds`; empty unless requested.
    """

    whole_seconds: float
    seconds: float
    import_seconds: float
    cpu_seconds: float
    main_thread_seconds: float
    peak_bytes: int
    num_rows: int
    num_products: int
    num_images: int
    parts: dict[str, float]


def run_ingest(workspace: Workspace, dataset: str, *, parts: bool = False, keep_cache: bool = False) -> IngestRun:
    """Run the ingest as the stage does: delete its outputs first, as DVC does, and the cache unless `keep_cache`."""
    shutil.rmtree(workspace.root / "data", ignore_errors=True)
    if not keep_cache:
        shutil.rmtree(workspace.cache, ignore_errors=True)
    began = time.perf_counter()
    values = _child("ingest", str(workspace.root), dataset, *(["--parts"] if parts else []))
    return IngestRun(whole_seconds=time.perf_counter() - began, **values)


def run_decoding(images: Path, *, processes: bool, convert_as: Workspace | None) -> float:
    """Return the seconds for decoding all files in `images`, or for converting them by the params of `convert_as`."""
    kind = "processes" if processes else "threads"
    workspace = [] if convert_as is None else [str(convert_as.root)]
    return float(_child("decode", str(images), str(WORKERS), kind, *workspace)["seconds"])


def _child(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.ingest.runs", *arguments]
    result = subprocess.run(command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if result.returncode:
        raise UserError(f"{' '.join(command)} failed:\n{result.stderr[-4000:]}")
    return dict(json.loads(result.stdout.splitlines()[-1]))


def _ingest(root: Path, dataset: str, with_parts: bool) -> dict[str, Any]:
    began = time.perf_counter()
    import pandas  # noqa: F401  pyarrow imports it with its first array

    from tasks import ingest

    import_seconds = time.perf_counter() - began
    profile = CpuProfile()
    if with_parts:
        profile.instrument(ingest)
    began, began_cpu, began_thread = time.perf_counter(), time.process_time(), time.thread_time()
    summary = ingest.ingest(Workspace(root), dataset)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - began_cpu
    return {
        "seconds": seconds,
        "import_seconds": import_seconds,
        "cpu_seconds": cpu_seconds,
        "main_thread_seconds": time.thread_time() - began_thread,
        "peak_bytes": peak_memory(),
        "num_rows": summary.num_rows,
        "num_products": summary.num_products,
        "num_images": summary.num_images,
        "parts": profile.with_remainder(cpu_seconds) if with_parts else {},
    }


def peak_memory() -> int:
    """Return the peak resident memory of this process in bytes.

    getrusage is not used: in a new process, it includes the memory of the parent.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM")


def _decode(images: Path, workers: int, processes: bool, root: Path | None) -> dict[str, Any]:
    from benchmarks.ingest.decoding import time_decoding
    from fclip.catalog.config import IngestConfig
    from tasks.workspace.params import load_section

    config = None if root is None else load_section(Workspace(root), "ingest", IngestConfig).settings.image
    return {"seconds": time_decoding(sorted(images.iterdir()), config, workers=workers, processes=processes)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest.runs", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    ingest = commands.add_parser("ingest")
    ingest.add_argument("workspace", type=Path)
    ingest.add_argument("dataset")
    ingest.add_argument("--parts", action="store_true")
    decode = commands.add_parser("decode")
    decode.add_argument("images", type=Path)
    decode.add_argument("workers", type=int)
    decode.add_argument("kind", choices=["threads", "processes"])
    decode.add_argument("workspace", type=Path, nargs="?")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if arguments.command == "ingest":
        values = _ingest(arguments.workspace, arguments.dataset, arguments.parts)
    else:
        values = _decode(arguments.images, arguments.workers, arguments.kind == "processes", arguments.workspace)
    print(json.dumps(values))


if __name__ == "__main__":
    main()

"""Compare the speed of search by vector with LanceDB and FAISS, called directly.

python -m benchmarks.search --work DIR [--sizes N …] [--limit N] [--threads N] [--rounds N] [--out JSON]

The catalogs are kagl, embedded with fclip-tiny and published, and random vectors in clusters (512 dimensions, fixed
seed). Every tool answers the same queries with a vector at hand: exactly and approximately, without a filter and with
filters that leave about 1/2 to 1/1000 of the images. Approximate indexes have √n cells; LanceDB probes as many as our
index does without a filter, FAISS the fewest that reach a recall of 0.95. Each tool has a process of its own with the
same number of threads; they take turns, and medians are shown. Our time of a filtered query includes the evaluation
of the filter, as LanceDB's does; FAISS gets a bitmap at hand. Run nothing else at the same time. DIR keeps all indexes
(about 14 GB for a million images), and what is there is not built again.
"""

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.command import run_benchmark
from benchmarks.ingest.machine import machine_facts
from benchmarks.overhead.commands import fclip, median_seconds, python
from benchmarks.paths import DATASETS
from benchmarks.search.builds import record_file
from benchmarks.search.comparison import EXACT, MODES, PEERS, Row, compare, growth, searched_modes
from benchmarks.search.inputs import read_inputs
from benchmarks.search.package import PACKAGE, install_faiss
from benchmarks.search.processes import Runner, limited_to_cores
from benchmarks.search.report import show_growth, show_rows, show_sizes
from benchmarks.search.tools import OURS, TOOLS
from fclip.files import read_json
from tasks.workspace.paths import Workspace

SIZES = (100_000, 300_000, 1_000_000)
TEXT = "red summer dress"
COMMAND_REPEATS = 5
WIDTH = 140


def measure(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Return the measurements of all catalogs, the growth with the number of images, and the time of the command."""
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    runner = Runner(install_faiss(), work, arguments.threads)
    facts = {**machine_facts(), "lancedb": version("lancedb"), "faiss": PACKAGE, "threads": arguments.threads}
    console.print(f"{arguments.threads} threads", highlight=False)
    results: dict[str, Any] = {"machine": facts, "rounds": arguments.rounds, "catalogs": {}}
    if not arguments.no_kagl:
        workspace = Workspace(work / "kagl")
        from benchmarks.search.kagl import copy_code, embed_kagl  # torch takes seconds to import

        embed_kagl(workspace, arguments.datasets, arguments.limit)
        with limited_to_cores(arguments.threads):
            results["catalogs"]["kagl"] = measure_catalog(
                runner, "kagl", ("kagl", work / "kagl-inputs", arguments.queries, workspace.root), arguments, console
            )
        copy_code(workspace)
        results["command"] = time_command(workspace, console)
    for size in sorted(arguments.sizes):
        with limited_to_cores(arguments.threads):
            results["catalogs"][f"{size:,} random vectors"] = measure_catalog(
                runner,
                f"{size:,} random vectors",
                ("random", work / f"random-{size}", arguments.queries, size),
                arguments,
                console,
            )
    grown = [each for name, each in results["catalogs"].items() if name != "kagl"]
    if len(grown) > 1:
        results["growth"] = exponents(grown)
        show_growth(console, results["growth"])
    return results


def measure_catalog(
    runner: Runner, title: str, build: tuple[Any, ...], arguments: argparse.Namespace, console: Console
) -> dict[str, Any]:
    """Build what is not there, and return the seconds, sizes and memory of all tools, and the rows of the table."""
    folder = Path(build[1])
    if not record_file(folder, OURS).is_file():
        runner.build(*build)
    for peer in PEERS:
        if not record_file(folder, peer).is_file():
            runner.build(peer, folder)
    inputs = read_inputs(folder)
    builds = {tool: read_json(record_file(folder, tool)) for tool in TOOLS}
    rows = compare(runner, inputs, arguments.rounds, arguments.queries)
    memory = {mode: {tool: runner.memory(tool, mode, folder) for tool in TOOLS} for mode in searched_modes(inputs)}
    show_rows(console, rows, title)
    show_sizes(console, builds, memory, title)
    return {"filters": inputs.filters, "builds": builds, "memory_mib": memory, "rows": [asdict(row) for row in rows]}


def time_command(workspace: Workspace, console: Console) -> dict[str, float]:
    """Return the median seconds of `fclip search TEXT` and of an import of torch, and their ratio."""
    commands = {"fclip search": fclip("search", TEXT), "import torch": python("import torch")}
    seconds = median_seconds(commands, workspace.root, {}, COMMAND_REPEATS)
    ratio = seconds["fclip search"] / seconds["import torch"]
    shown = ", ".join(f"{name}: {each:.2f} s" for name, each in seconds.items())
    console.print(f"{shown}, ratio: {ratio:.2f}", highlight=False)
    return {**seconds, "ratio": ratio}


def exponents(catalogs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return for each kind of search, and for the build, the exponent of its growth with the number of images.

    Filtered approximate search is left out: ours is exact.
    """
    rows = [[Row(**row) for row in each["rows"]] for each in catalogs]
    sizes = [each[0].images for each in rows]
    result = {}
    for same in zip(*rows, strict=False):
        first = same[0]
        if first.mode == EXACT or first.filter is None:
            times = {tool: [row.milliseconds[tool] for row in same] for tool in TOOLS}
            what = f"{first.mode}, filter {first.filter or 'none'}"
            result[what] = {tool: growth(sizes, values) for tool, values in times.items()}
    for mode in MODES:
        result[f"build, {mode}, of the processor"] = dict(_build_growth(catalogs, sizes, mode))
    return result


def _build_growth(
    catalogs: Sequence[Mapping[str, Any]], sizes: Sequence[int], mode: str
) -> Iterator[tuple[str, float]]:
    for tool in TOOLS:
        seconds = [each["builds"][tool][mode]["cpu_seconds"] for each in catalogs if mode in each["builds"][tool]]
        if len(seconds) == len(sizes):
            yield tool, growth(sizes, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--work", type=Path, required=True, help="folder for the workspace and the indexes")
    parser.add_argument("--datasets", type=Path, default=DATASETS, help="the folder that contains kagl")
    parser.add_argument("--limit", type=int, help="rows of kagl (default: all)")
    parser.add_argument("--no-kagl", action="store_true", help="measure only random vectors")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="numbers of random vectors")
    parser.add_argument("--queries", type=int, default=50, help="number of queries (default: 50)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each tool (default: 5)")
    parser.add_argument("--threads", type=int, default=cores, help="threads of each tool (default: all cores)")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    run_benchmark(parser, measure, Console(width=WIDTH))


if __name__ == "__main__":
    main()

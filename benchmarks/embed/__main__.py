"""Compare the speed of embedding with the package fashion-clip and with the usual loop over open_clip.

python -m benchmarks.embed --work DIR [--rounds N] [--models NAME …] [--out JSON]

All tools have the same weights, batch size and images, and run in turn; medians are shown. `pipeline` is the embedding
of the stage `embed` with an empty cache, `runtime` is `fclip.runtime`, and `FashionCLIP` is the class of this package.
Run nothing else at the same time. DIR keeps the models, the images and the package.
"""

import argparse
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.command import run_benchmark
from benchmarks.embed.inputs import (
    IMAGES,
    TEXTS,
    BenchmarkModel,
    install_peer,
    write_images,
    write_models,
)
from benchmarks.embed.runs import Runner, interleaved
from benchmarks.ingest.machine import machine_facts
from fclip.files import read_json

EMBEDDERS, QUERIED = ("pipeline", "runtime", "FashionCLIP"), ("runtime", "FashionCLIP")
FORWARD = ("runtime, forward", "pipeline, forward")
LIMITS = {
    "images": {"fashion-clip": 2.0, "open_clip": 1.2},
    "query": {"fashion-clip": 3.0, "open_clip": 2.0},
    "first": {"fashion-clip": 8.0, "open_clip": 8.0},
}
LARGE_LIMIT = 0.95  # of a model whose forward pass takes nearly all of the time
WIDTH = 110


@dataclass(frozen=True)
class Row:
    """A comparison.

    Attributes:
        what: the quantity, and `unit`: images/s, or ms or s of one input.
        ours, theirs: the measured values. ratio: how many times as fast we are.
        limit: what the ratio must reach.
    """

    model: str
    what: str
    unit: str
    tool: str
    peer: str
    ours: float
    theirs: float
    ratio: float
    limit: float


def measure(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Return the rows of the table, and how near we are to the forward pass alone."""
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    models = [model for model in write_models(work) if not arguments.models or model.name in arguments.models]
    images = write_images(work, max(number for model in models for number in model.num_images.values()))
    runner = Runner(install_peer(work), work)
    facts = machine_facts()
    rows: list[Row] = []
    forward: dict[str, dict[str, float]] = {}
    for model in models:
        with runner.tools([*EMBEDDERS, *FORWARD, *model.peers], model.folder) as tools:
            for size, folder in images.items():
                paths = [str(path) for path in sorted((folder / IMAGES).iterdir())[: model.num_images[size]]]
                for tool in tools.values():
                    tool.ask("images", paths)  # warms up
                seconds = interleaved(
                    arguments.rounds, {name: partial(tool.ask, "images", paths) for name, tool in tools.items()}
                )
                speeds = {name: len(paths) / statistics.median(np.ravel(runs)) for name, runs in seconds.items()}
                rows += _image_rows(model, size, speeds)
                forward[f"{model.name}, {size}"] = speeds
            rows += _query_rows(model, _queries(model, tools, images, arguments.rounds))
        rows += _first_rows(model, runner, images, arguments.rounds)
        show(console, [row for row in rows if row.model == model.name], model.name)
    show_forward(console, forward)
    console.print(f"{sum(row.ratio < row.limit for row in rows)} of {len(rows)} rows miss their limit", highlight=False)
    return {
        "machine": facts,
        "rounds": arguments.rounds,
        "images_per_second": forward,
        "rows": [asdict(row) for row in rows],
    }


def _queries(
    model: BenchmarkModel, tools: Mapping[str, Any], images: Mapping[str, Path], rounds: int
) -> dict[str, dict[str, np.ndarray]]:
    """Return the seconds of all single queries, by kind and tool."""
    folder = images["500x700"]
    inputs = {
        "texts": read_json(folder / TEXTS)[: model.num_queries],
        "images": [str(path) for path in sorted((folder / IMAGES).iterdir())[: model.num_queries]],
    }
    names = [*QUERIED, *model.peers]
    results = {}
    for kind, given in inputs.items():
        jobs = {name: partial(tools[name].ask, kind, given, one_by_one=True, warm_up=True) for name in names}
        results[kind] = {name: np.ravel(runs) for name, runs in interleaved(rounds, jobs).items()}
    return results


def _image_rows(model: BenchmarkModel, size: str, speeds: Mapping[str, float]) -> Iterator[Row]:
    for tool in EMBEDDERS:
        for peer in model.peers:
            yield _row(model, "images", f"JPEGs of {size}", "images/s", tool, peer, speeds[tool], speeds[peer])


def _query_rows(model: BenchmarkModel, seconds: Mapping[str, Mapping[str, np.ndarray]]) -> Iterator[Row]:
    for kind, by_tool in seconds.items():
        for percentile in (50, 99):
            values = {name: 1000 * float(np.percentile(each, percentile)) for name, each in by_tool.items()}
            for tool in QUERIED:
                for peer in model.peers:
                    what = f"one {kind.removesuffix('s')}, p{percentile}"
                    yield _row(model, "query", what, "ms", tool, peer, values[tool], values[peer])


def _first_rows(model: BenchmarkModel, runner: Runner, images: Mapping[str, Path], rounds: int) -> Iterator[Row]:
    folder = images["500x700"]
    given = {"image": str(next((folder / IMAGES).iterdir())), "text": read_json(folder / TEXTS)[0]}
    for kind, one in given.items():
        jobs = {name: partial(runner.first_seconds, name, model.folder, kind, one) for name in (*QUERIED, *model.peers)}
        interleaved(1, jobs)  # fills the caches of the file system
        seconds = {name: statistics.median(runs) for name, runs in interleaved(rounds, jobs).items()}
        for tool in QUERIED:
            for peer in model.peers:
                what = f"start to first {kind}"
                yield _row(model, "first", what, "s", tool, peer, seconds[tool], seconds[peer])


def _row(
    model: BenchmarkModel, kind: str, what: str, unit: str, tool: str, peer: str, ours: float, theirs: float
) -> Row:
    ratio = ours / theirs if unit == "images/s" else theirs / ours
    limit = LARGE_LIMIT if model.is_large else LIMITS[kind][peer]
    return Row(model.name, what, unit, tool, peer, ours, theirs, ratio, limit)


def show(console: Console, rows: Sequence[Row], title: str) -> None:
    """Print the rows of one model; those that miss their limit are red."""
    table = Table("what", title=title, box=None, title_justify="left")
    for heading in ("", "tool", "peer"):
        table.add_column(heading)
    for heading in ("ours", "theirs", "times as fast", "limit"):
        table.add_column(heading, justify="right")
    for row in rows:
        style = "red" if row.ratio < row.limit else None
        values = (f"{row.ours:,.4g}", f"{row.theirs:,.4g}", f"{row.ratio:.2f}", f"{row.limit:.2f}")
        table.add_row(row.what, row.unit, row.tool, row.peer, *values, style=style)
    console.print(table)


def show_forward(console: Console, speeds: Mapping[str, Mapping[str, float]]) -> None:
    """Print the images per second of all tools, and the share of the forward pass alone that ours reach."""
    table = Table("images/s", box=None, title="The forward pass alone", title_justify="left")
    names = ("runtime, forward", "runtime", "FashionCLIP", "pipeline, forward", "pipeline")
    for heading in names:
        table.add_column(heading, justify="right")
    for title, by_tool in speeds.items():
        forward = {name: by_tool["pipeline, forward" if "pipeline" in name else "runtime, forward"] for name in names}
        shares = (
            f"{by_tool[name]:,.0f}"
            if name == f"{name.split(',')[0]}, forward"
            else f"{by_tool[name] / forward[name]:.2f}"
            for name in names
        )
        table.add_row(title, *shares)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.embed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for models, images and the package")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved runs of each tool (default: 5)")
    parser.add_argument("--models", nargs="*", help="names of models (default: all)")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    run_benchmark(parser, measure, Console(width=WIDTH))


if __name__ == "__main__":
    main()

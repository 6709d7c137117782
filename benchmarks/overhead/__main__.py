"""Measure what fclip costs besides its work, as ratios to the programs that it is built on.

python -m benchmarks.overhead --work DIR [--repeats N] [--out JSON]

DIR gets a clone of this repository with its own registry and Prefect home, which is run once. Then each command is
timed, with interleaved repeats; medians are shown. Uncommitted changes are not measured. The machine must be idle.
"""

import argparse
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.command import run_benchmark
from benchmarks.overhead.commands import REFERENCES, Command, fclip, median_seconds, run_logged
from benchmarks.overhead.first_run import StageTime, stage_times
from fclip.errors import UserError
from flows.cli.commands import COMMANDS
from tasks.workspace.paths import Workspace

REPOSITORY = Path(__file__).resolve().parent.parent.parent
UNCHANGED = "Nothing changed since the run"
NOTHING_TO_ROLL_BACK = "had no champion before"


@dataclass(frozen=True)
class Row:
    """A measured quantity in seconds, and its limit."""

    what: str
    seconds: float
    limit: float
    formula: str


def measure(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Return the median seconds of all commands, the times of the first run, and the rows of the table."""
    work = arguments.work.resolve()
    workspace, environment = Workspace(work / "workspace"), environment_in(work)
    if not workspace.root.exists():
        subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(workspace.root)], check=True)
    total_file = work / "first-run.txt"
    if not total_file.exists():
        console.print(f"First run, log in {work / 'first-run.log'}", highlight=False)
        seconds = run_logged(fclip("retrain").arguments, workspace.root, environment, work / "first-run.log")
        total_file.write_text(str(seconds))
        time.sleep(3)  # until the files of the run are settled
    total = float(total_file.read_text())
    stages = stage_times(workspace)
    commands = {
        **{f"fclip {name} --help": fclip(name, "--help", expected="Usage") for name in COMMANDS},
        "fclip --help": fclip("--help", expected="Usage"),
        "fclip status": fclip("status", expected="no stage: all outputs match"),
        "fclip models": fclip("models", expected="champion"),
        "fclip pin": fclip("pin", expected="unchanged"),
        "fclip rollback": fclip("rollback", code=1, expected=NOTHING_TO_ROLL_BACK),
        "fclip retrain": fclip("retrain", expected=UNCHANGED),
    }
    with prefect_server(work, environment) as url:
        with_server = {"PREFECT_API_URL": url}
        commands["fclip retrain, server"] = fclip("retrain", expected=UNCHANGED, environment=with_server)
        seconds_of = median_seconds({**REFERENCES, **commands}, workspace.root, environment, arguments.repeats)
    rows = list(_rows(seconds_of, stages, total))
    show(console, rows, stages, total)
    return {
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "repeats": arguments.repeats,
        "seconds": seconds_of,
        "first_run_seconds": total,
        "stages": [asdict(stage) for stage in stages],
        "rows": [{**asdict(row), "ratio_to_limit": row.seconds / row.limit} for row in rows],
    }


def environment_in(work: Path) -> dict[str, str]:
    """The environment of all commands: an own registry and Prefect home, and no server or registry of the user."""
    for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "FCLIP_DEBUG"):
        os.environ.pop(name, None)
    return {"FCLIP_HOME": str(work / "fclip"), "PREFECT_HOME": str(work / "prefect"), "COLUMNS": "120"}


@contextmanager
def prefect_server(work: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """The API address of a Prefect server that runs during the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = Command((sys.executable, "-m", "prefect", "server", "start", "--port", str(port)))
    with (work / "server.log").open("wb") as log:
        server = subprocess.Popen(
            command.arguments, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        url = f"http://127.0.0.1:{port}/api"
        while not _answers(f"{url}/health"):
            if server.poll() is not None:
                raise UserError(f"the Prefect server ended; see {work / 'server.log'}")
            time.sleep(0.5)
        yield url
    finally:
        server.terminate()
        server.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def _rows(seconds: Mapping[str, float], stages: list[StageTime], total: float) -> Iterator[Row]:
    typer, mlflow, import_torch, open_clip, status = (
        seconds[name]
        for name in ("import typer, rich", "import mlflow", "import torch", "import open_clip", "dvc status")
    )
    helps = {name: taken for name, taken in seconds.items() if name.endswith("--help")}
    slowest = max(helps, key=lambda name: helps[name])
    yield Row("fclip --help", seconds["fclip --help"], 2 * typer, "2 import typer, rich")
    yield Row(f"slowest help: {slowest}", helps[slowest], 2 * typer, "2 import typer, rich")
    for name in ("status", "models", "pin", "rollback"):
        yield Row(f"fclip {name}", seconds[f"fclip {name}"], status + mlflow, "dvc status + import mlflow")
    yield Row("fclip retrain, nothing changed", seconds["fclip retrain"], 3 * status, "3 dvc status")
    yield Row("the same with a server", seconds["fclip retrain, server"], 3 * status + 3, "3 dvc status + 3 s")
    for stage in stages:
        if stage.uses_model:
            limit, formula = open_clip + import_torch / 3, "import open_clip + import torch / 3"
        else:
            limit, formula = import_torch / 2, "import torch / 2"
        yield Row(f"overhead of {stage.stage}", stage.overhead, limit, formula)
    yield Row("first run, all but loops", total - sum(stage.loops for stage in stages), total / 3, "whole / 3")


def show(console: Console, rows: list[Row], stages: list[StageTime], total: float) -> None:
    """Print the table of limits and the times of the first run."""
    table = Table("what", title="Seconds, and the limit", box=None, title_justify="left")
    for heading in ("seconds", "limit", "of the limit"):
        table.add_column(heading, justify="right")
    table.add_column("limit is")
    for row in rows:
        share = row.seconds / row.limit
        style = "red" if share > 1 else None
        table.add_row(row.what, f"{row.seconds:.2f}", f"{row.limit:.2f}", f"{share:.2f}", row.formula, style=style)
    console.print(table)
    table = Table("stage", title=f"First run: {total:.0f} s", box=None, title_justify="left")
    for heading in ("before", "work", "of which loops", "after"):
        table.add_column(heading, justify="right")
    for stage in stages:
        numbers = (stage.before, stage.work, stage.loops, stage.after)
        table.add_row(stage.stage, *(f"{number:.1f}" for number in numbers))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overhead", description="Measure what fclip costs besides its work."
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for the clone; reused if it exists")
    parser.add_argument("--repeats", type=int, default=5, help="number of timings of each command (default: 5)")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    run_benchmark(parser, measure, Console(width=110))


if __name__ == "__main__":
    main()

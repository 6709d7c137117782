"""Timed commands: the programs that limits refer to, and the commands of fclip."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fclip.errors import UserError


@dataclass(frozen=True)
class Command:
    """A command to time.

    Attributes:
        code: its expected exit code.
        expected: words that its output must contain, so that only the intended path is timed.
    """

    arguments: tuple[str, ...]
    code: int = 0
    expected: str = ""
    environment: Mapping[str, str] | None = None


def python(code: str) -> Command:
    """`python -c code`."""
    return Command((sys.executable, "-c", code))


def fclip(*arguments: str, code: int = 0, expected: str = "", environment: Mapping[str, str] | None = None) -> Command:
    """A command of fclip."""
    return Command((sys.executable, "-m", "flows.cli", *arguments), code, expected, environment)


REFERENCES = {
    "import typer, rich": python("import typer, rich"),
    "import mlflow": python("import mlflow"),
    "import torch": python("import torch"),
    "import open_clip": python("import open_clip"),
    "dvc status": Command((sys.executable, "-m", "dvc", "status"), expected="up to date"),
}


def median_seconds(
    commands: Mapping[str, Command], folder: Path, environment: Mapping[str, str], repeats: int
) -> dict[str, float]:
    """Return the median seconds of each command. Repeats are interleaved; one round before them fills the caches.

    Raises:
        UserError: a command ended with another exit code or output than expected.
    """
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for repeat in range(-1, repeats):
        for name, command in commands.items():
            taken = _time(name, command, folder, environment)
            if repeat >= 0:
                seconds[name].append(taken)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def _time(name: str, command: Command, folder: Path, environment: Mapping[str, str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(
        command.arguments,
        cwd=folder,
        env={**os.environ, **environment, **(command.environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    taken = time.perf_counter() - began
    if done.returncode != command.code or command.expected not in done.stdout:
        raise UserError(f"{name} ended with {done.returncode}, not as expected:\n{done.stdout.strip()[-2000:]}")
    return taken


def run_logged(arguments: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path) -> float:
    """Run a command once, write its output to `log`, and return its seconds; raises UserError if it fails."""
    began = time.perf_counter()
    with log.open("wb") as output:
        code = subprocess.run(
            arguments,
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        ).returncode
    if code != 0:
        raise UserError(f"`{' '.join(arguments)}` failed; see {log}")
    return time.perf_counter() - began

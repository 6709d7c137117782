"""Interleaved runs of tools that each have a process of their own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.paths import REPOSITORY
from fclip.errors import UserError


class ToolProcess:
    """A tool with a loaded model."""

    def __init__(self, name: str, process: subprocess.Popen[str], log: Path) -> None:
        self._name, self._process, self._log = name, process, log

    def ask(self, kind: str, inputs: Sequence[str], *, one_by_one: bool = False, warm_up: bool = False) -> list[float]:
        """Return the seconds of a job (`benchmarks.embed.tools.answer`); raises UserError if the tool fails."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        job = {"kind": kind, "inputs": list(inputs), "one_by_one": one_by_one, "warm_up": warm_up}
        line = ""
        if self._process.poll() is None:
            print(json.dumps(job), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        if not line:
            raise UserError(f"{self._name} ended; its last lines are\n{self._log.read_text()[-2000:]}")
        seconds: list[float] = json.loads(line)
        return seconds


class Runner:
    """Starts tools. `packages`: the folder with fashion-clip; `work`: for logs and the packages' caches."""

    def __init__(self, packages: Path, work: Path) -> None:
        self._packages, self._work = packages, work

    @contextmanager
    def tools(self, names: Sequence[str], model: Path) -> Iterator[dict[str, ToolProcess]]:
        """Context with one process per tool."""
        with ExitStack() as stack:
            yield {name: stack.enter_context(self._tool(name, model)) for name in names}

    @contextmanager
    def _tool(self, name: str, model: Path) -> Iterator[ToolProcess]:
        log = self._work / f"{name}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                self._command(name, model),
                env=self._environment(name),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )
            try:
                yield ToolProcess(name, process, log)
            finally:
                process.terminate()
                process.communicate()

    def first_seconds(self, name: str, model: Path, kind: str, given: str) -> float:
        """Return the seconds from starting a process to the end of its first embedding and its exit."""
        began = time.perf_counter()
        done = subprocess.run(
            [*self._command(name, model), "--first", kind, given],
            env=self._environment(name),
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - began
        if done.returncode:
            raise UserError(f"{name} failed:\n{done.stderr[-2000:]}")
        return seconds

    def _command(self, name: str, model: Path) -> list[str]:
        return [sys.executable, "-m", "benchmarks.embed.tools", name, str(model)]

    def _environment(self, name: str) -> Mapping[str, str]:
        path = [str(REPOSITORY), *([str(self._packages)] if name == "fashion-clip" else [])][::-1]
        home = {"HF_HOME": str(self._work / "huggingface"), "HF_HUB_OFFLINE": "1"}
        return {**os.environ, **home, "PYTHONPATH": os.pathsep.join(path)}


def interleaved(rounds: int, jobs: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the results of all jobs by name: one of each per round, in turn."""
    results: dict[str, list[Any]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            results[name].append(job())
    return results

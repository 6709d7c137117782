"""Processes that build and search, all with the same number of threads."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.paths import REPOSITORY
from fclip.errors import UserError

THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LANCE_CPU_THREADS")


class ToolProcess:
    """A tool with an open index."""

    def __init__(self, name: str, process: subprocess.Popen[str], log: Path) -> None:
        self._name, self._process, self._log = name, process, log

    def ask(self, share: str | None, queries: Sequence[int]) -> dict[str, Any]:
        """Return the answer to queries by their numbers (`benchmarks.search.tools.answer`).

        Raises:
            UserError: the tool fails.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = ""
        if self._process.poll() is None:
            job = {"share": share, "queries": list(queries)}
            print(json.dumps(job), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        if not line:
            raise UserError(f"{self._name} ended; its last lines are\n{self._log.read_text()[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@dataclass(frozen=True)
class Runner:
    """Starts processes. `packages`: the folder with FAISS; `threads`: the cores that a process may use."""

    packages: Path
    work: Path
    threads: int

    def build(self, *arguments: object) -> None:
        """Run `benchmarks.search.builds`; raises UserError if it fails."""
        self._run("benchmarks.search.builds", *arguments)

    def memory(self, tool: str, mode: str, folder: Path) -> dict[str, float]:
        """Return the memory of a new process that answers queries (`benchmarks.search.tools.memory`)."""
        result: dict[str, float] = json.loads(self._run("benchmarks.search.tools", "memory", tool, mode, folder))
        return result

    @contextmanager
    def tool(self, tool: str, mode: str, folder: Path) -> Iterator[ToolProcess]:
        """Context with one process that answers queries."""
        log = self.work / f"{tool}-{mode}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                self._command("benchmarks.search.tools", "search", tool, mode, folder),
                env=self._environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )
            try:
                yield ToolProcess(f"{tool}, {mode}", process, log)
            finally:
                process.terminate()
                process.communicate()

    def _run(self, module: str, *arguments: object) -> str:
        done = subprocess.run(
            self._command(module, *arguments), env=self._environment(), capture_output=True, text=True
        )
        if done.returncode:
            raise UserError(f"{module} {' '.join(map(str, arguments))} failed:\n{done.stderr[-2000:]}")
        return done.stdout

    def _command(self, module: str, *arguments: object) -> list[str]:
        return [sys.executable, "-m", module, *map(str, arguments)]

    def _environment(self) -> Mapping[str, str]:
        path = os.pathsep.join([str(self.packages), str(REPOSITORY)])
        return {**os.environ, "PYTHONPATH": path, **{name: str(self.threads) for name in THREAD_SETTINGS}}


@contextmanager
def limited_to_cores(number: int) -> Iterator[None]:
    """Context in which this process, and the processes that it starts, run on `number` cores.

    Raises:
        UserError: there are fewer cores.
    """
    cores = os.sched_getaffinity(0)
    if not 1 <= number <= len(cores):
        raise UserError(f"--threads must be from 1 to {len(cores)}, not {number}")
    os.sched_setaffinity(0, sorted(cores)[:number])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)

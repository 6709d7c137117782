"""The processes of the benchmark: the service, its clients, and the encoder and index called in process."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.paths import REPOSITORY
from benchmarks.serve.client import Job
from fclip.errors import UserError

START_SECONDS = 120
UNBATCHED = """
import sys
from pathlib import Path
from fclip.serve.server import serve
from fclip.serve.settings import Settings
serve(Path(sys.argv[1]), Settings(port=int(sys.argv[2]), batch_size=1, batch_wait_ms=0))
"""


@dataclass(frozen=True)
class Service:
    """A service that runs. `process`: its number. `log`: what it prints."""

    port: int
    process: int
    log: Path

    def memory(self) -> dict[str, float]:
        """Return MiB of memory: `own`, which is not mapped from files, and `all`."""
        lines = Path(f"/proc/{self.process}/status").read_text().splitlines()
        values = dict(line.split(":", 1) for line in lines)
        return {name: int(values[key].split()[0]) / 2**10 for name, key in (("own", "RssAnon"), ("all", "VmRSS"))}

    def ask(self, path: str) -> str:
        """Return the reply to a GET request."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as reply:
            return str(reply.read().decode())


@contextmanager
def service(workspace: Path, log: Path, *, batching: bool) -> Iterator[Service]:
    """Context with a service that is ready.

    Raises:
        UserError: it does not start.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "flows.cli", "serve", str(workspace), "--port", str(port)]
    if not batching:
        command = [sys.executable, "-c", UNBATCHED, str(workspace), str(port)]
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=output, stderr=output)
    started = Service(port, process.pid, log)
    try:
        _wait(started, process)
        yield started
    finally:
        process.terminate()
        process.wait()


def _wait(started: Service, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            started.ask("/readyz")
            return
        except OSError:  # also an error of HTTP
            time.sleep(0.1)
    raise UserError(f"the service does not start; its log ends with\n{started.log.read_text()[-2000:]}")


def ask(job: Job) -> dict[str, Any]:
    """Run clients to their end, and return what they measured."""
    return finish(start("benchmarks.serve.client", given=asdict(job)))


def start(module: str, *arguments: object, given: Any) -> subprocess.Popen[str]:
    """Start a module of this benchmark, and give it an object as JSON."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=REPOSITORY, stdin=pipe, stdout=pipe, text=True)
    assert process.stdin is not None
    with process.stdin as file:
        json.dump(given, file)
    process.stdin = None
    return process


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the object that a module printed; raises UserError if it failed."""
    output, _ = process.communicate()
    if process.returncode:
        raise UserError(f"{' '.join(map(str, process.args))} failed; see above")  # type: ignore[arg-type]
    result: dict[str, Any] = json.loads(output)
    return result

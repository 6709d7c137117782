"""As in production: a Prefect server, a worker, and the deployment of prefect.yaml."""

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Finished, Space, trainers


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(space: Space, log: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of its own group while the block runs."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=space.root, env=dict(space.environment), stdout=output, stderr=output, start_new_session=True
        )
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def eventually(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.5)


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(log.read_text())


@dataclass(frozen=True)
class Deployed:
    """A workspace whose deployment a server knows; `worker_log` is where a worker's lines go."""

    space: Space
    worker_log: Path

    def worker(self) -> AbstractContextManager[subprocess.Popen[bytes]]:
        return running(self.space, self.worker_log, "prefect", "worker", "start", "--pool", "fclip")


@pytest.fixture
def deployed(retrained: tuple[Space, Finished], tmp_path: Path) -> Iterator[Deployed]:
    """The README's commands against a server of their own."""
    port = free_port()
    copy = retrained[0].copy(tmp_path / "space")
    url = f"http://127.0.0.1:{port}/api"
    space = Space(
        copy.root,
        {**copy.environment, "PREFECT_API_URL": url, "PREFECT_HOME": str(tmp_path / "prefect"),
         "PREFECT_SERVER_ANALYTICS_ENABLED": "false"},
    )  # fmt: skip
    log = tmp_path / "server.log"
    with running(space, log, "prefect", "server", "start", "--port", str(port)) as server:
        wait_for(f"{url}/health", server, log)
        for command in (("work-pool", "create", "--type", "process", "fclip"), ("--no-prompt", "deploy", "--all")):
            finished = space.run("prefect", *command)
            assert finished.code == 0, finished.output
        yield Deployed(space, tmp_path / "worker.log")


def test_a_deployments_triggered_run_completes_and_commits(deployed: Deployed) -> None:
    space = deployed.space
    before = space.run("git", "rev-parse", "HEAD").output
    inspected = space.run("prefect", "deployment", "inspect", "retrain/weekly", "--output", "json")
    assert json.loads(inspected.output)["schedules"][0]["schedule"]["cron"] == "0 3 * * 1"
    with deployed.worker():
        triggered = space.run("prefect", "deployment", "run", "retrain/weekly", "--watch", timeout=400)
    log = deployed.worker_log.read_text()
    assert triggered.code == 0, triggered.output + log
    assert "no stage was recomputed" in log, log
    assert space.run("git", "rev-parse", "HEAD").output != before
    assert "Retrain: version 1" in space.run("git", "log", "-1", "--format=%s").output


@pytest.mark.slow
def test_cancelling_a_deployments_run_stops_its_trainer(deployed: Deployed) -> None:
    space = deployed.space
    space.set_params(lambda params: params["finetune"].update(epochs=400, learning_rate=1.0e-4))
    assert space.run("git", "commit", "-qam", "Train for long").code == 0
    with deployed.worker():
        triggered = space.run("prefect", "deployment", "run", "retrain/weekly")
        found = re.search(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", triggered.output)
        assert found, triggered.output
        eventually(lambda: " loss " in deployed.worker_log.read_text(), seconds=300)
        assert trainers(space)
        cancelled = space.run("prefect", "flow-run", "cancel", found[0])
        assert cancelled.code == 0, cancelled.output
        eventually(lambda: not trainers(space), seconds=90)
    assert space.json(".fclip/status/finetune.json")["ended"] == "preempted"

"""The deployment of prefect.yaml with a Prefect server and a worker."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Space, eventually, running, trainers


@dataclass(frozen=True)
class Deployed:
    """A workspace with a deployment on a Prefect server. `worker_log`: log file of the worker."""

    space: Space
    worker_log: Path

    def worker(self) -> AbstractContextManager[subprocess.Popen[bytes]]:
        command = ["prefect", "worker", "start", "--pool", "fclip"]
        return running(command, self.space.root, self.space.environment, self.worker_log)


@pytest.fixture
def deployed(retrained: Space, tmp_path: Path) -> Iterator[Deployed]:
    """A workspace deployed with the documented commands."""
    space = retrained.copy(tmp_path / "space")
    for command in (("work-pool", "create", "--type", "process", "fclip"), ("--no-prompt", "deploy", "--all")):
        # $PWD is wrong when the caller is not a shell; the deployment must not use it.
        finished = space.run("prefect", *command, PWD="/")
        assert finished.code == 0, finished.output
    yield Deployed(space, tmp_path / "worker.log")
    space.run("prefect", "--no-prompt", "work-pool", "delete", "fclip")


@pytest.mark.slow
def test_deployment_run_completes_and_commits(deployed: Deployed) -> None:
    space = deployed.space
    before = space.run("git", "rev-parse", "HEAD").output
    inspected = space.run("prefect", "deployment", "inspect", "retrain/weekly", "--output", "json")
    assert json.loads(inspected.output)["schedules"][0]["schedule"]["cron"] == "0 3 * * 1"
    with deployed.worker():
        triggered = space.run("prefect", "deployment", "run", "retrain/weekly", "--watch", timeout=400)
    log = deployed.worker_log.read_text()
    assert triggered.code == 0, triggered.output + log
    assert "No stage was recomputed" in log, log
    assert space.run("git", "rev-parse", "HEAD").output != before
    assert "Retrain: version 1" in space.run("git", "log", "-1", "--format=%s").output


@pytest.mark.slow
def test_cancelling_a_deployment_run_stops_its_training_process(deployed: Deployed) -> None:
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

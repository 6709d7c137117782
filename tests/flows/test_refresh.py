"""The flow `refresh_catalog`: what it publishes, what it leaves to the next retraining, and what starts it."""

import json
import subprocess
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fclip.search.index import Index
from flows.pipeline import read_pipeline
from flows.unchanged import Unchanged, find_unchanged
from tasks.workspace.lock import run_lock
from tasks.workspace.paths import Workspace
from tests.conftest import Finished, Space, eventually, running

DELETED, NEW, CHANGED = "studio-000003", "studio-001003", "studio-000005"
DRAWN = "product = make_product(domain, index, seed)"
DRAWN_LATER = "product = make_product(domain, {3: 1003}.get(index, index), seed + (index == 5))"


def change_catalog(space: Space) -> None:
    """Draw another catalog: one product is new, one is deleted, one has other texts and images."""
    path = space.root / "fclip" / "sample" / "catalog.py"
    assert DRAWN in path.read_text()
    path.write_text(path.read_text().replace(DRAWN, DRAWN_LATER))


def set_size(space: Space, num_products: int) -> None:
    space.set_params(lambda params: params["ingest"]["datasets"]["studio"]["source"].update(num_products=num_products))
    assert space.run("git", "commit", "-qam", "Another catalog").code == 0


def has(space: Space, product_id: str) -> bool:
    """Whether the published index of the champion has the product."""
    return bool(Index.open(space.root).catalog.numbers_of(product_id))


def title(space: Space, product_id: str) -> str:
    catalog = Index.open(space.root).catalog
    (product,) = catalog.products(catalog.numbers_of(product_id)).values()
    return product.title


def use_registry(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FCLIP_HOME", space.environment["FCLIP_HOME"])
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_refresh_publishes_what_changed_and_leaves_training_stale(
    retrained: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = retrained.copy(tmp_path / "space")
    use_registry(space, monkeypatch)
    workspace = Workspace(space.root)
    versions, champion, before = space.versions, space.json("pins/champion.json"), title(space, CHANGED)
    assert has(space, DELETED)
    change_catalog(space)
    finished = space.run("fclip", "refresh")
    assert finished.code == 0, finished.output
    assert "1 new, 1 changed, 1 deleted" in finished.output
    assert not has(space, DELETED)
    assert has(space, NEW)
    assert title(space, CHANGED) != before
    assert (space.versions, space.json("pins/champion.json")) == (versions, champion)
    stale = read_pipeline(workspace).stale
    assert "finetune" in stale
    assert not stale & {"gather", "embed"}
    assert find_unchanged(workspace, commit=False) is None
    assert isinstance(find_unchanged(workspace, commit=False, flow="refresh"), Unchanged)


def test_refresh_without_a_champion_is_refused(trained: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir()
    space = trained.copy(tmp_path / "space")
    space = space.at(space.root, FCLIP_HOME=str(tmp_path / "home"), PREFECT_API_URL="")
    (space.root / "pins" / "champion.json").write_text("{}\n")
    before = (space.root / "dvc.lock").read_bytes()
    refused = space.call("refresh")
    assert refused.code == 1
    assert "has no champion" in refused.output
    assert "run `fclip retrain` first" in refused.output
    assert (space.root / "dvc.lock").read_bytes() == before


def test_an_event_that_cannot_be_delivered_is_an_error(trained: Space) -> None:
    space = trained.at(trained.root, PREFECT_API_URL="")
    assert "no event `sale`; events are catalog-changed" in space.call("emit", "sale").output
    unset = space.call("emit", "catalog-changed")
    assert unset.code == 1
    assert "no Prefect server is configured" in unset.output
    dead = space.run("fclip", "emit", "catalog-changed", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert dead.code == 1
    assert "the Prefect server at http://127.0.0.1:9/api cannot be reached" in dead.output
    assert "Traceback" not in dead.output


@dataclass(frozen=True)
class Deployed:
    """A workspace with its deployments on a Prefect server at `api`."""

    space: Space
    api: str
    worker_log: Path

    def worker(self) -> AbstractContextManager[subprocess.Popen[bytes]]:
        command = ["prefect", "worker", "start", "--pool", "fclip"]
        return running(command, self.space.root, self.space.environment, self.worker_log)

    def emit(self) -> Finished:
        return self.space.run("fclip", "emit", "catalog-changed")

    def post(self, path: str, body: Any) -> Any:
        """Call the API of the server as any program can, as the documentation shows."""
        request = urllib.request.Request(
            f"{self.api}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.loads(response.read() or "null")

    def emit_from_any_program(self, root: Path | None = None) -> None:
        event = {
            "event": "fclip.catalog-changed",
            "resource": {"prefect.resource.id": f"fclip.workspace.{root or self.space.root}"},
            "id": str(uuid.uuid4()),
            "occurred": datetime.now(UTC).isoformat(),
        }
        self.post("/events", [event])

    def runs(self) -> list[dict[str, Any]]:
        """The runs of the deployment that events have started."""
        body = {"deployments": {"name": {"any_": ["nightly"]}}, "sort": "EXPECTED_START_TIME_ASC"}
        return [run for run in self.post("/flow_runs/filter", body) if not run["auto_scheduled"]]

    def states(self) -> Counter[str]:
        return Counter(run["state_type"] for run in self.runs())


@pytest.fixture
def deployed(retrained: Space, tmp_path: Path) -> Iterator[Deployed]:
    space = retrained.copy(tmp_path / "space")
    for command in (("work-pool", "create", "--type", "process", "fclip"), ("--no-prompt", "deploy", "--all")):
        finished = space.run("prefect", *command, PWD="/")
        assert finished.code == 0, finished.output
    yield Deployed(space, space.environment["PREFECT_API_URL"], tmp_path / "worker.log")
    # A deployment of the same name would take over the runs and the slot of this one.
    for command in (("deployment", "delete", "--all"), ("work-pool", "delete", "fclip")):
        space.run("prefect", "--no-prompt", *command)


@pytest.mark.slow
def test_an_event_starts_a_refresh_of_its_workspace(deployed: Deployed) -> None:
    space = deployed.space
    before = space.run("git", "rev-parse", "HEAD").output
    assert not has(space, "studio-000160")
    set_size(space, 161)
    with deployed.worker():
        deployed.emit_from_any_program(space.root.parent / "another")
        sent = deployed.emit()
        assert sent.code == 0, sent.output
        assert f"fclip.workspace.{space.root}" in sent.output
        eventually(lambda: deployed.states() == {"COMPLETED": 1}, seconds=300)
    assert has(space, "studio-000160"), deployed.worker_log.read_text()
    assert "1 new, 0 changed, 0 deleted" in deployed.worker_log.read_text()
    assert space.run("git", "log", "-1", "--format=%s").output.strip() == "Refresh the catalog"
    assert space.run("git", "rev-parse", "HEAD").output != before


@pytest.mark.slow
def test_events_during_a_run_make_one_following_run(deployed: Deployed) -> None:
    space = deployed.space
    set_size(space, 161)
    with deployed.worker():
        with run_lock(Workspace(space.root), "a test"):
            for _ in range(3):  # the first run waits for the lock; the others wait for the first
                deployed.emit_from_any_program()
            eventually(lambda: "Waiting: a test" in deployed.worker_log.read_text(), seconds=120)
            eventually(lambda: len(deployed.runs()) == 3, seconds=60)
        # The first run has the lock and covers these two events. It reads the sources now, so it covers no later ones.
        eventually(lambda: "Running ingest@studio" in deployed.worker_log.read_text(), seconds=120)
        for _ in range(3):
            deployed.emit_from_any_program()
        eventually(lambda: deployed.states() == {"COMPLETED": 2, "CANCELLED": 4}, seconds=400)
    log = deployed.worker_log.read_text()
    assert log.count("Cancelled 2 waiting runs") == 2, log
    assert log.count("Running ingest@studio") == 1
    cancelled = [run for run in deployed.runs() if run["state_type"] == "CANCELLED"]
    assert all("Covered by the run" in run["state"]["message"] for run in cancelled)


@pytest.mark.slow
def test_a_failed_run_leaves_the_runs_that_wait(deployed: Deployed) -> None:
    space = deployed.space
    set_size(space, 161)
    with deployed.worker():
        with run_lock(Workspace(space.root), "a test"):
            for _ in range(2):
                deployed.emit_from_any_program()
            eventually(lambda: "Waiting: a test" in deployed.worker_log.read_text(), seconds=120)
            eventually(lambda: len(deployed.runs()) == 2, seconds=60)
            params = (space.root / "params.yaml").read_text()
            (space.root / "params.yaml").write_text(f"{params}\n# not committed, so a run with a commit refuses\n")
        eventually(lambda: deployed.states()["FAILED"] == 1, seconds=120)
        (space.root / "params.yaml").write_text(params)
        eventually(lambda: deployed.states() == {"FAILED": 1, "COMPLETED": 1}, seconds=300)
    assert has(space, "studio-000160")

"""`fclip serve`, `queries` and `judgements merge`."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, Space, eventually, make_space, running, tiny_params


@pytest.fixture
def space(tmp_path: Path) -> Space:
    """A workspace in which nothing has run."""
    return make_space(tmp_path / "space", tiny_params(tmp_path / "model"), tmp_path / "home")


def answer(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def test_service_needs_no_torch_and_no_workspace_and_stops_at_a_signal(trained: Space, tmp_path: Path) -> None:
    shutil.copytree(trained.root / "published", tmp_path / "copy" / "published")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    blocked = ["torch", "open_clip", "transformers", "mlflow", "prefect", "dvc", "lancedb", "pandas"]
    code = f"import sys\nsys.modules.update(dict.fromkeys({blocked!r}))\nfrom flows.cli.__main__ import main\nmain()"
    command = [sys.executable, "-c", code, "serve", str(tmp_path / "copy"), "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with running(command, tmp_path, environment, tmp_path / "log") as process:
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: answer(f"{url}/readyz")[0] == 200 or process.poll() is not None, seconds=60)
        assert process.poll() is None, (tmp_path / "log").read_text()
        request = urllib.request.Request(
            f"{url}/v1/search", json.dumps({"text": "red dress", "k": 3}).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            assert len(json.load(reply)["results"]) == 3
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) in (0, -signal.SIGTERM)
    log = (tmp_path / "log").read_text()
    assert "Traceback" not in log
    assert "red dress" not in log


def test_service_refuses_an_open_address_and_a_taken_port(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    environment.pop("FCLIP_API_KEYS", None)
    command = [sys.executable, "-m", "flows.cli", "serve"]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
        )

    open_address = run("--host", "0.0.0.0")
    assert (open_address.returncode, "set FCLIP_API_KEYS" in open_address.stderr) == (1, True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run("--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "cannot be used; choose another --port" in done.stderr


def test_grades_are_merged_into_the_table_of_their_dataset(space: Space) -> None:
    assert "no grades" in space.call("judgements", "merge").output
    grade = {"query": "red", "dataset": "studio", "product_id": "p1", "grade": 3, "by": "Ada", "at": "2026-01-01"}
    inbox = space.root / ".fclip" / "judgements.jsonl"
    inbox.parent.mkdir(exist_ok=True)
    inbox.write_text(json.dumps(grade) + "\n")
    refused = space.call("judgements", "merge")
    assert refused.code == 1
    assert "add `judgements: {path: judgements-studio.csv}` to ingest.datasets.studio" in refused.output
    space.set_params(lambda params: params["ingest"]["datasets"]["studio"].update(judgements={"path": "graded.csv"}))
    assert "graded.csv: 1 new judgements, 0 changed" in space.call("judgements", "merge").output
    assert (space.root / "graded.csv").read_text() == "query,product_id,grade,by,at\nred,p1,3,Ada,2026-01-01\n"
    assert "graded.csv: 0 new judgements, 0 changed" in space.call("judgements", "merge").output


def test_queries_are_shown(space: Space) -> None:
    assert "no queries" in space.call("queries").output
    log = space.root / ".fclip" / "queries.jsonl"
    log.parent.mkdir(exist_ok=True)
    entry = {"at": "2026-01-02T03:04:05+00:00", "text": "Yacht", "image": False, "filters": {}, "model": "champion"}
    log.write_text("".join(json.dumps({**entry, "results": number}) + "\n" for number in (0, 0, 5)))
    shown = space.call("queries").output
    assert "3 searches from 2026-01-02 to 2026-01-02" in shown
    assert "found nothing\n      2  yacht" in shown
    assert json.loads(space.call("queries", "--json").output)["empty"] == [["yacht", 2]]

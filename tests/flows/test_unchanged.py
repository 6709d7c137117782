"""Whether a run with nothing to do is recognised, and every change is noticed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fclip.registry.backend import connect
from flows.unchanged import Unchanged, find_unchanged, remember_run
from tasks.workspace.paths import Workspace
from tests.conftest import Space


@pytest.fixture
def space(trained: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Space:
    """A workspace after a complete run; this process uses its registry."""
    space = trained.copy(tmp_path / "space")
    monkeypatch.setenv("FCLIP_HOME", space.environment["FCLIP_HOME"])
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("PREFECT_API_URL", "")
    return space


def move_champion(space: Space) -> None:
    client = connect()
    name = space.params["base"]["registered_model"]
    client.set_model_version_tag(name, "1", "note", "changed by hand")


CHANGES: dict[str, Callable[[Space], object]] = {
    "a setting": lambda space: space.set_params(lambda params: params["select"].update(in_domain_tolerance=0.5)),
    "a setting that no stage tracks": lambda space: space.set_params(lambda p: p.update(drift={"psi_warn": 0.5})),
    "code of a stage": lambda space: (space.root / "tasks" / "gather.py").open("a").write("# changed\n"),
    "code of the report": lambda space: (space.root / "fclip" / "report" / "card.py").open("a").write("# changed\n"),
    "a deleted output": lambda space: (space.root / "reports" / "metrics.json").unlink(),
    "a deleted report": lambda space: (space.root / "reports" / "report.html").unlink(),
    "a pin edited by hand": lambda space: (space.root / "pins" / "sources" / "street.json").write_text("{}\n"),
    "the registry": move_champion,
}


def test_nothing_changed_is_found_without_prefect(space: Space) -> None:
    assert isinstance(find_unchanged(Workspace(space.root), commit=False), Unchanged)
    finished = space.run("fclip", "retrain")
    assert finished.code == 0, finished.output
    assert "Nothing changed since the run of" in finished.output
    assert "server" not in finished.output


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_noticed(space: Space, change: str) -> None:
    CHANGES[change](space)
    assert not isinstance(find_unchanged(Workspace(space.root), commit=False), Unchanged)


def test_a_run_with_a_commit_is_not_unchanged_before_its_commit(space: Space) -> None:
    workspace = Workspace(space.root)
    assert find_unchanged(workspace, commit=True) is None
    remember_run(workspace, committed=True)
    assert find_unchanged(workspace, commit=True) is None  # dvc.lock and pins/ are not committed
    assert space.run("git", "add", "dvc.lock", "pins").code == 0
    assert space.run("git", "commit", "-qm", "A run").code == 0
    assert isinstance(find_unchanged(workspace, commit=True), Unchanged)

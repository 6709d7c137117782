"""`fclip reproduce`: a version again, in a new workspace at its closing commit."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from fclip.files import sha256_tree
from tests.conftest import Finished, Space

CLOSE = """
from tasks.commit import make_closing_commit
from tasks.workspace.paths import Workspace
make_closing_commit(Workspace.here(), message="Closed", version=1)
"""
TAG = """
import sys
from fclip.registry import store, tags
store.set_version_tag(sys.argv[1], 1, tags.CLOSING_COMMIT, sys.argv[2])
"""


def close(space: Space) -> Space:
    """Make the closing commit of the only version."""
    finished = space.run("python", "-c", CLOSE)
    assert finished.code == 0, finished.output
    return space


def tag(space: Space, commit: str) -> None:
    """Name another commit as the closing commit of the only version."""
    finished = space.run("python", "-c", TAG, space.params["base"]["registered_model"], commit)
    assert finished.code == 0, finished.output


@pytest.fixture(scope="module")
def closed(trained: Space, tmp_path_factory: pytest.TempPathFactory) -> Space:
    """A workspace whose version has a closing commit. Copy it before changing it."""
    return close(trained.copy(tmp_path_factory.mktemp("closed") / "space"))


def state(space: Space) -> list[object]:
    """What the command must leave as it is: files, commits, branches, and the registry."""
    git = [space.run("git", *words).output for words in (["status", "--porcelain"], ["log", "--all", "--format=%H"])]
    files = [(path, sha256_tree(space.root / path)) for path in ("data", "models", "reports", "pins", "published")]
    return [*git, *files, (space.root / "dvc.lock").read_bytes(), space.versions]


def rows(finished: Finished) -> dict[tuple[str, str], tuple[str, str]]:
    """(stage, output) -> (result, how) in the printed table."""
    line = re.compile(
        r"^ *(\S+) +(\S+) +\d+\.\d +\w{12} +(?:\w{12} +)?(equal|different|missing) +(\w[\w ]*\w) *$", re.MULTILINE
    )
    return {(stage, output): (result, how) for stage, output, result, how in line.findall(finished.output)}


def test_every_output_is_restored_and_nothing_else_changes(closed: Space, tmp_path: Path) -> None:
    space = closed.copy(tmp_path / "space")
    before = state(space)
    done = space.call("reproduce", "champion")
    assert done.code == 0, done.output
    root = tmp_path / "space-version-1"
    lock = yaml.safe_load((space.root / "dvc.lock").read_text())["stages"]
    recorded = {(stage, out["path"]) for stage, entry in lock.items() for out in entry["outs"]}
    assert rows(done) == dict.fromkeys(recorded, ("equal", "restored"))
    assert f"all {len(recorded) + 1} digests are equal" in done.output
    assert f"git worktree remove --force {root}" in done.output
    assert sha256_tree(root / "models" / "selected") == space.versions[0].model_sha256
    assert state(space) == before
    assert space.at(root).run("git", "status", "--porcelain", "--branch").output == "## HEAD (no branch)\n"

    again = space.call("reproduce", "1")
    assert again.code == 1
    assert f"{root} is not empty" in again.output
    assert space.run("git", "worktree", "remove", "--force", str(root)).code == 0


def test_stages_run_the_code_and_params_of_the_commit(closed: Space, tmp_path: Path) -> None:
    """The commit of this version has other code and params, and its lock records what that code does not compute."""
    space = closed.copy(tmp_path / "space")
    lock = yaml.safe_load((space.root / "dvc.lock").read_text())
    (metrics,) = [out for out in lock["stages"]["select"]["outs"] if out["path"] == "reports/metrics.json"]
    metrics["md5"] = "0" * 32
    (space.root / "dvc.lock").write_text(yaml.safe_dump(lock))
    stage = space.root / "tasks" / "select.py"
    original = stage.read_text()
    stage.write_text(
        original.replace('if __name__ == "__main__":', 'if __name__ == "__main__":\n    print("old code")')
    )
    assert space.run("git", "commit", "-qam", "Another lock").code == 0
    tag(space, space.run("git", "rev-parse", "HEAD").output.strip())
    stage.write_text(original)
    done = space.call("reproduce", "1", str(tmp_path / "again"))
    assert done.code == 1
    assert "old code" in done.output
    found = rows(done)
    assert found["select", "reports/metrics.json"] == ("different", "run")
    assert found["select", "models/selected"] == ("equal", "run")
    assert found["evaluate@studio", "reports/evaluation/studio.parquet"] == ("equal", "restored")
    assert "1 different, 0 missing" in done.output


@pytest.mark.slow
def test_every_stage_runs_again_from_scratch(closed: Space, tmp_path: Path) -> None:
    space = closed.copy(tmp_path / "space")
    before = state(space)
    done = space.call("reproduce", "1", str(tmp_path / "again"), "--from-scratch")
    assert done.code == 0, done.output
    assert set(rows(done).values()) == {("equal", "run")}
    assert state(space) == before


@pytest.mark.parametrize("has_remote", [False, True])
def test_a_stage_that_cannot_run_leaves_out_those_after_it(closed: Space, tmp_path: Path, has_remote: bool) -> None:
    """What depends on it is missing, unless the DVC remote has it. The cache of this workspace is lost."""
    space = closed.copy(tmp_path / "space")
    if has_remote:
        assert space.run("dvc", "remote", "add", "-d", "store", str(tmp_path / "remote")).code == 0
        pushed = space.run("dvc", "push")
        assert pushed.code == 0, pushed.output
        shutil.rmtree(space.root / ".dvc" / "cache")
    (space.root / "pins" / "sources" / "street.json").write_text("{}\n")
    assert space.run("git", "commit", "-qam", "A source that is not pinned").code == 0
    tag(space, space.run("git", "rev-parse", "HEAD").output.strip())
    done = space.call("reproduce", "1", str(tmp_path / "again"))
    assert done.code == 1
    found = rows(done)
    assert found["ingest@street", "data/catalog/street"] == ("missing", "failed")
    assert found["select", "models/selected"] == (("equal", "restored") if has_remote else ("missing", "not run"))
    assert found["caption@studio", "data/captions/studio.parquet"] == ("equal", "restored")
    assert f"weights of version 1 of fclip-sample: {'equal' if has_remote else 'missing'} (registered" in done.output


def test_a_version_that_cannot_be_reproduced(trained: Space, closed: Space, tmp_path: Path) -> None:
    unknown = trained.call("reproduce", "7", str(tmp_path / "new"))
    assert unknown.code == 1
    assert "no version or alias `7`" in unknown.output
    open_end = trained.call("reproduce", "1", str(tmp_path / "new"))
    assert open_end.code == 1
    assert "has no closing commit" in open_end.output
    assert "fclip retrain --commit" in open_end.output
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("")
    taken = closed.call("reproduce", "1", str(tmp_path / "taken"))
    assert taken.code == 1
    assert "taken is not empty" in taken.output
    space = closed.copy(tmp_path / "space")
    tag(space, "0" * 40)
    absent = space.call("reproduce", "1", str(tmp_path / "new"))
    assert absent.code == 1
    assert "run `git fetch`" in absent.output
    assert not (tmp_path / "new").exists()
    tag(space, space.run("git", "rev-list", "--max-parents=0", "HEAD").output.strip())
    without_lock = space.call("reproduce", "1", str(tmp_path / "new"))
    assert without_lock.code == 1
    assert "dvc.lock does not exist" in without_lock.output
    assert f"git worktree remove --force {tmp_path / 'new'}" in without_lock.output
    assert "taken" not in space.run("git", "worktree", "list").output

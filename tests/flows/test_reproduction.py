"""Reproduction of a registered version: closing commit, remote, clone, pull."""

from pathlib import Path

from fclip.files import sha256_tree
from tests.conftest import Space


def test_clone_at_the_closing_commit_restores_the_version(retrained: Space, tmp_path: Path) -> None:
    space = retrained.copy(tmp_path / "space")
    assert space.run("dvc", "remote", "add", "-d", "store", str(tmp_path / "remote")).code == 0
    assert space.run("git", "commit", "-qam", "Params and a remote").code == 0
    finished = space.run("fclip", "retrain", "--commit")
    assert finished.code == 0, finished.output
    changed = space.run("git", "show", "--name-only", "--format=%s", "HEAD").output.split()
    assert "dvc.lock" in changed
    assert not [name for name in changed if name.startswith(("fclip/", "params"))]
    commit = space.run("git", "rev-parse", "HEAD").output.strip()
    assert commit[:12] in space.call("models").output

    clone = tmp_path / "clone"
    assert space.run("git", "clone", "--quiet", str(space.root), str(clone)).code == 0
    other = space.at(clone)
    assert other.run("git", "checkout", "--quiet", commit).code == 0
    pulled = other.run("dvc", "pull")
    assert pulled.code == 0, pulled.output
    reproduced = other.run("dvc", "repro", "select")
    assert reproduced.code == 0, reproduced.output
    assert "Running stage" not in reproduced.output
    assert sha256_tree(clone / "models" / "selected") == other.json("pins/champion.json")["model_sha256"]


def test_run_with_commit_refuses_uncommitted_changes(retrained: Space, tmp_path: Path) -> None:
    space = retrained.copy(tmp_path / "space")
    space.set_params(lambda params: params["base"].update(seed=5))
    finished = space.run("fclip", "retrain", "--commit")
    assert finished.code == 1
    assert "uncommitted changes in params.yaml" in finished.output

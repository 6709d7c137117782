"""The comparison of a workspace with its dvc.lock: digests against DVC's own, and planted differences."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fclip.errors import UserError
from fclip.files import sha256_tree
from tasks.reproduce import Reproduction, compare, dvc_md5, recorded_outputs
from tasks.workspace.paths import Workspace
from tests.conftest import Space


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace with the outputs of one stage, and a dvc.lock that records them."""
    space = Workspace(tmp_path)
    (space.selected / "b").mkdir(parents=True)
    (space.selected / "weights").write_bytes(random.Random(0).randbytes(3_000_000))
    (space.selected / "b" / "é.json").write_text("{}")
    space.headline.parent.mkdir()
    space.headline.write_text("{}\n")
    outs = [
        {"path": path, "hash": "md5", "md5": dvc_md5(tmp_path / path), "size": 2**20}
        for path in ("models/selected", "reports/metrics.json")
    ]
    space.dvc_lock.write_text(yaml.safe_dump({"schema": "2.0", "stages": {"select": {"cmd": "true", "outs": outs}}}))
    return space


def compared(workspace: Workspace, model_sha256: str | None = None) -> Reproduction:
    return compare(workspace, recorded_outputs(workspace), model_sha256 or sha256_tree(workspace.selected))


def results(found: Reproduction) -> dict[str, str]:
    return {output.path: comparison.result for output, comparison in found.outputs} | {"model": found.model.result}


def test_digests_are_those_of_dvc(workspace: Workspace) -> None:
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    for command in (["init", "--no-scm", "--quiet"], ["add", "--quiet", "models/selected", "reports/metrics.json"]):
        subprocess.run([sys.executable, "-m", "dvc", *command], cwd=workspace.root, env=environment, check=True)
    for path in (workspace.selected, workspace.headline):
        (out,) = yaml.safe_load(path.with_name(f"{path.name}.dvc").read_text())["outs"]
        assert dvc_md5(path) == out["md5"]


def test_the_lock_of_a_run_records_what_is_on_disk(trained: Space) -> None:
    found = compared(Workspace(trained.root), trained.versions[0].model_sha256)
    assert found.is_equal
    assert {"ingest@studio", "finetune", "select", "embed"} <= {output.stage for output, _ in found.outputs}


def test_equal_whatever_the_times(workspace: Workspace) -> None:
    os.utime(workspace.headline, (0, 0))
    assert compared(workspace).is_equal


def test_one_changed_byte_is_different_even_with_the_same_size_and_time(workspace: Workspace) -> None:
    weights, before = workspace.selected / "weights", (workspace.selected / "weights").stat()
    model = sha256_tree(workspace.selected)
    content = bytearray(weights.read_bytes())
    content[2_500_000] ^= 1
    weights.write_bytes(bytes(content))
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    found = compared(workspace, model)
    assert results(found) == {
        "models/selected": "different",
        "reports/metrics.json": "equal",
        "model": "different",
    }
    assert not found.is_equal


def test_an_additional_or_renamed_file_is_different(workspace: Workspace) -> None:
    (workspace.selected / "more").write_text("")
    assert results(compared(workspace))["models/selected"] == "different"
    (workspace.selected / "more").unlink()
    (workspace.selected / "weights").rename(workspace.selected / "weight")
    assert results(compared(workspace))["models/selected"] == "different"


def test_what_is_not_on_disk_is_missing(workspace: Workspace) -> None:
    shutil.rmtree(workspace.selected)
    workspace.headline.unlink()
    found = compared(workspace, "0" * 64)
    assert set(results(found).values()) == {"missing"}
    assert not found.is_equal


def test_other_registered_weights_are_different(workspace: Workspace) -> None:
    found = compared(workspace, "0" * 64)
    assert results(found) == {"models/selected": "equal", "reports/metrics.json": "equal", "model": "different"}
    assert not found.is_equal


def test_a_commit_without_outputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"dvc\.lock does not exist"):
        recorded_outputs(Workspace(tmp_path))

"""`fclip cache`: measure and delete the caches."""

from pathlib import Path

import pytest

from fclip.errors import UserError
from flows.cli.cache import measure, prune
from tasks.workspace.paths import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace with cached pixels and an interrupted training that links to them."""
    workspace = Workspace(tmp_path)
    pixels = workspace.pixel_cache / "110px-abc"
    pixels.mkdir(parents=True)
    (pixels / "part-1.npy").write_bytes(b"x" * 1000)
    (pixels / "part-2.npy").write_bytes(b"x" * 500)
    job = workspace.training_cache / "key"
    job.mkdir(parents=True)
    (job / "job.json").write_bytes(b"{}")
    (job / "pixels").symlink_to("../../pixels")
    (job / "products.parquet").symlink_to("../../pixels/110px-abc/part-1.npy")
    return workspace


def test_measure_ignores_symbolic_links(workspace: Workspace) -> None:
    assert measure(workspace) == [("pixels", 2, 1500), ("training", 1, 2)]
    assert measure(Workspace(workspace.root / "empty")) == []


def test_prune_deletes_the_named_parts(workspace: Workspace) -> None:
    assert prune(workspace, ["training"]) == 2
    assert measure(workspace) == [("pixels", 2, 1500)]
    with pytest.raises(UserError, match="unknown part `training`; the existing parts are: pixels"):
        prune(workspace, ["pixels", "training"])
    assert prune(workspace, ["pixels"]) == 1500
    assert measure(workspace) == []


def test_prune_without_names_deletes_the_whole_cache(workspace: Workspace) -> None:
    assert prune(workspace) == 1502
    assert not workspace.cache.exists()
    assert prune(workspace) == 0

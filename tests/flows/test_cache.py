"""What cache/ holds, and how it is emptied."""

from pathlib import Path

import pytest

from fclip.errors import UserError
from flows.cli.cache import measure, prune
from tasks.workspace.paths import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Pixels, and an interrupted job that links to them."""
    made = Workspace(tmp_path)
    shelf = made.pixel_cache / "110px-abc"
    shelf.mkdir(parents=True)
    (shelf / "part-1.npy").write_bytes(b"x" * 1000)
    (shelf / "part-2.npy").write_bytes(b"x" * 500)
    job = made.training_cache / "key"
    job.mkdir(parents=True)
    (job / "job.json").write_bytes(b"{}")
    (job / "pixels").symlink_to("../../pixels")
    (job / "products.parquet").symlink_to("../../pixels/110px-abc/part-1.npy")
    return made


def test_each_part_is_measured_without_what_it_links_to(workspace: Workspace) -> None:
    assert measure(workspace) == [("pixels", 2, 1500), ("training", 1, 2)]
    assert measure(Workspace(workspace.root / "elsewhere")) == []


def test_parts_are_deleted_by_name(workspace: Workspace) -> None:
    assert prune(workspace, ["training"]) == 2
    assert measure(workspace) == [("pixels", 2, 1500)]
    with pytest.raises(UserError, match="has no part `training`: there are pixels"):
        prune(workspace, ["pixels", "training"])
    assert prune(workspace, ["pixels"]) == 1500
    assert measure(workspace) == []


def test_all_of_it_is_deleted(workspace: Workspace) -> None:
    assert prune(workspace) == 1502
    assert not workspace.cache.exists()
    assert prune(workspace) == 0

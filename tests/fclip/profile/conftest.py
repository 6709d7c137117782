"""A small read-only catalog on disk, and its profiles."""

from pathlib import Path

import pytest

from fclip.profile.measure import measure_dataset
from fclip.profile.profile import Profile
from tasks.workspace.paths import Workspace
from tests.tiny_shop import write_dataset


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The dataset `studio`: 66 products, every fifth with two images, every seventh without a colour."""
    workspace = Workspace(tmp_path_factory.mktemp("shop"))
    write_dataset(workspace, "studio", {"train": 30, "val": 24, "denim": 12})
    return workspace


@pytest.fixture(scope="session")
def studio(shop: Workspace) -> Profile:
    return measured(shop)


def measured(workspace: Workspace, dataset: str = "studio", label: str | None = "colour") -> Profile:
    folder: Path = workspace.catalog(dataset)
    return measure_dataset(
        dataset, catalog_dir=folder, captions_path=workspace.captions(dataset), label=label, context_length=16
    )

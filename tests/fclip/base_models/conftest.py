"""The composed base model `towers`, shared by tests."""

from pathlib import Path

import pytest

from fclip.base_models import towers
from fclip.base_models.towers import TowersConfig

TOWERS = TowersConfig(kind="towers", image_size=96, context_length=64)


@pytest.fixture(scope="session")
def composed(tmp_path_factory: pytest.TempPathFactory, quick_towers: None) -> Path:
    folder = tmp_path_factory.mktemp("towers")
    towers.compose(TOWERS, folder)
    return folder

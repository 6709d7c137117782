"""A small kagl, written once."""

from pathlib import Path

import pytest

from tests.benchmarks.small_kagl import write_kagl


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds `kagl`."""
    return write_kagl(tmp_path_factory.mktemp("datasets"))

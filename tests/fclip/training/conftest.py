"""A shop and a finished run, shared by tests that only read them."""

from pathlib import Path

import pytest

from fclip.training.job import run_job
from tests.fclip.training.training_jobs import make_job, write_shop


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("training-shop"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, shop: Path, tiny_base_model: Path) -> Path:
    """The `out` folder of a complete run of `make_config()`."""
    return run_job(make_job(tmp_path_factory.mktemp("finished"), shop, tiny_base_model))

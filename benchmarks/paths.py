"""Paths that all benchmarks use."""

import os
from pathlib import Path

from fclip.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[1]
PRESET = REPOSITORY / "params" / "kagl.yaml"
DATASETS = Path(os.environ.get("FCLIP_DATASETS", REPOSITORY.parent / "shared" / "datasets")).resolve()
CACHE = Path(os.environ.get("FCLIP_BENCHMARK_CACHE", Path.home() / ".cache" / "fclip" / "benchmarks"))
"""Packages of the compared tools that this environment does not contain."""


def dataset_folder(datasets: Path, name: str) -> Path:
    """Return the folder of a real dataset.

    Raises:
        UserError: the folder does not exist.
    """
    folder = datasets / name
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist; set FCLIP_DATASETS to the folder that contains `{name}`")
    return folder

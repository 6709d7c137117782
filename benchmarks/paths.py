"""Where things lie that every benchmark needs."""

import os
from pathlib import Path

from fclip.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[1]
PRESET = REPOSITORY / "params" / "kagl.yaml"
DATASETS = Path(os.environ.get("FCLIP_DATASETS", REPOSITORY.parent / "shared" / "datasets")).resolve()
CACHE = Path(os.environ.get("FCLIP_BENCHMARK_CACHE", Path.home() / ".cache" / "fclip" / "benchmarks"))
"""What peers need beyond this environment."""


def dataset_folder(datasets: Path, name: str) -> Path:
    """The folder of a real dataset; raises UserError where it is not there."""
    folder = datasets / name
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist: set FCLIP_DATASETS to the folder that holds `{name}`")
    return folder

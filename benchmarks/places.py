"""Where things lie that every benchmark needs."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PRESET = REPOSITORY / "params" / "kagl.yaml"
DATASETS = Path(os.environ.get("FCLIP_DATASETS", REPOSITORY.parent / "shared" / "datasets")).resolve()
CACHE = Path(os.environ.get("FCLIP_BENCHMARK_CACHE", Path.home() / ".cache" / "fclip" / "benchmarks"))
"""What peers need beyond this environment."""

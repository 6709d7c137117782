"""Facts about the machine and the software of a measurement."""

import importlib.metadata
import os
import platform
from pathlib import Path

from PIL import features

PACKAGES = ("pillow", "numpy", "pyarrow", "torch", "torchvision")


def machine_facts() -> dict[str, object]:
    """Return processor, cores, memory, current load, and the versions of the packages that do the work."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "load_average": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "libjpeg_turbo": features.version_feature("libjpeg_turbo"),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text().splitlines() if file.exists() else []

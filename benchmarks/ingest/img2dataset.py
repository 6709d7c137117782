"""Install, tune and run img2dataset on the same files as fclip, which it reads by file:// URLs.

It needs pandas below 3, so it has its own virtual environment. Its downloader opens URLs with urllib, which reads files
directly, without a server. It gets the same stored side (`keep_ratio`, only if bigger) and JPEG quality,
`skip_reencode` (a small enough image is kept unchanged, as in fclip), no EXIF columns, and the fastest settings that
`tune` finds.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.ingest.inputs import IngestInput
from fclip.catalog.config import ImageConfig
from fclip.errors import UserError

PACKAGE = "img2dataset"
OUTPUT_FORMATS = ("parquet", "webdataset", "files")
TUNING_RUNS = 2
THREADS = (1, 2, 4, 8, 16, 32)
ENVIRONMENT = {"NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled"}  # no checks for newer versions


@dataclass(frozen=True)
class Img2datasetSettings:
    """The tuned options of img2dataset. One of its processes handles one shard at a time."""

    output_format: str
    processes: int
    threads: int
    shards_per_process: int


@dataclass(frozen=True)
class Img2datasetRun:
    """One measured run.

    Attributes:
        whole_seconds: duration of the whole command.
        seconds: from the start of the first shard to the end of the last one.
        num_images: number of images written.
    """

    whole_seconds: float
    seconds: float
    num_images: int


@dataclass(frozen=True)
class Img2dataset:
    """An installed img2dataset."""

    python: Path

    def versions(self) -> dict[str, str]:
        """Return the versions of img2dataset and of the packages that decode for it."""
        code = "import importlib.metadata as m, json, sys; print(json.dumps({p: m.version(p) for p in sys.argv[1:]}))"
        names = [PACKAGE, "opencv-python-headless", "albumentations", "pyarrow", "numpy"]
        output = subprocess.run([self.python, "-c", code, *names], check=True, capture_output=True, text=True).stdout
        return dict(json.loads(output))

    def run(
        self, given: IngestInput, output: Path, config: ImageConfig, settings: Img2datasetSettings
    ) -> Img2datasetRun:
        """Write the images of `given` into the folder `output`, which is deleted first."""
        shutil.rmtree(output, ignore_errors=True)
        columns = json.dumps(["product_id", *given.texts, *given.attributes])
        shards = settings.processes * settings.shards_per_process
        options: dict[str, object] = {
            "url_list": given.table,
            "input_format": "parquet",
            "url_col": "url",
            "caption_col": "caption",
            "save_additional_columns": columns,
            "output_folder": output,
            "output_format": settings.output_format,
            "processes_count": settings.processes,
            "thread_count": settings.threads,
            "number_sample_per_shard": max(2, -(-given.num_images // shards)),
            "image_size": config.stored_side,
            "resize_mode": "keep_ratio",
            "resize_only_if_bigger": True,
            "encode_quality": config.jpeg_quality,
            "skip_reencode": True,
            "extract_exif": False,
            "enable_wandb": False,
        }
        command = [str(self.python.parent / PACKAGE), *(f"--{name}={value}" for name, value in options.items())]
        began = time.perf_counter()
        result = subprocess.run(
            command,
            env={**os.environ, **ENVIRONMENT},
            cwd=output.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        whole = time.perf_counter() - began
        shards_done = [json.loads(path.read_text()) for path in output.glob("*_stats.json")]
        if result.returncode or not shards_done:
            raise UserError(f"{' '.join(command)} failed:\n{(result.stdout + result.stderr)[-4000:]}")
        return Img2datasetRun(
            whole_seconds=whole,
            seconds=max(each["end_time"] for each in shards_done) - min(each["start_time"] for each in shards_done),
            num_images=sum(each["successes"] for each in shards_done),
        )


def install(cache: Path) -> Img2dataset:
    """Return the newest img2dataset, installed into a virtual environment in `cache` the first time.

    Raises:
        UserError: there is no Python that img2dataset supports, or the installation fails.
    """
    folder = cache / PACKAGE
    python = folder / "bin" / "python"
    done = folder / ".installed"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        base = _python()
        for command in (
            [base, "-m", "venv", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE],
        ):
            result = subprocess.run(command, capture_output=True, text=True)
            if result.returncode:
                raise UserError(
                    f"{PACKAGE} could not be installed into {folder}: `{' '.join(command)}` printed:\n"
                    f"{(result.stdout + result.stderr)[-2000:]}\n"
                    "Make the installation possible and run this again, or skip img2dataset with --no-peer."
                )
        done.touch()
    return Img2dataset(python)


def tune(
    peer: Img2dataset,
    given: IngestInput,
    output: Path,
    config: ImageConfig,
    *,
    cores: int,
    show_progress: Callable[[str], None],
) -> Img2datasetSettings:
    """Return the fastest settings. Options are tuned one after another, each value by the better of two runs."""
    best = Img2datasetSettings(OUTPUT_FORMATS[0], cores, threads=8, shards_per_process=2)
    choices: dict[str, Sequence[object]] = {
        "output_format": OUTPUT_FORMATS,
        "threads": THREADS,
        "processes": (cores, 2 * cores),
        "shards_per_process": (1, 2, 4),
    }
    measured: dict[Img2datasetSettings, float] = {}
    for name, values in choices.items():
        for value in values:
            settings = replace(best, **{name: value})  # type: ignore[arg-type]
            if settings in measured:
                continue
            measured[settings] = min(peer.run(given, output, config, settings).seconds for _ in range(TUNING_RUNS))
            show_progress(f"img2dataset: {settings}: {given.num_images / measured[settings]:.0f} images/s")
        best = min(measured, key=lambda settings: measured[settings])
    return best


def _python() -> str:
    """Return a Python that runs img2dataset, which needs the module imghdr; Python 3.13 removed it."""
    candidates = [sys.executable, *(shutil.which(f"python3.{minor}") for minor in (12, 11, 10))]
    for candidate in candidates:
        if candidate and not subprocess.run([candidate, "-c", "import imghdr, venv"], capture_output=True).returncode:
            return candidate
    raise UserError(f"{PACKAGE} needs a Python older than 3.13; put python3.12 on the path, or use --no-peer")

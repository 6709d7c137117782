"""img2dataset, in an environment of its own (it wants pandas below 3), reading the same files by file:// URLs.

Its downloader opens URLs by urllib, which reads files itself: no server stands in between. It is given the same stored
side (`keep_ratio`, only if bigger) and JPEG quality, `skip_reencode` (an image that is small enough is kept as it is,
as fclip keeps it), no EXIF columns, and the fastest of the settings in `tune`.
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
ENVIRONMENT = {"NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled"}  # it asks for newer versions otherwise


@dataclass(frozen=True)
class Img2datasetSettings:
    """What of img2dataset's options is tuned. A shard is what one of its processes takes at a time."""

    output_format: str
    processes: int
    threads: int
    shards_per_process: int


@dataclass(frozen=True)
class Img2datasetRun:
    """One run: seconds of the whole command; from the first shard's start to the last's end; images that came out."""

    whole_seconds: float
    seconds: float
    num_images: int


@dataclass(frozen=True)
class Img2dataset:
    """An installed img2dataset."""

    python: Path

    def versions(self) -> dict[str, str]:
        """Versions of it, and of what decodes for it."""
        code = "import importlib.metadata as m, json, sys; print(json.dumps({p: m.version(p) for p in sys.argv[1:]}))"
        names = [PACKAGE, "opencv-python-headless", "albumentations", "pyarrow", "numpy"]
        output = subprocess.run([self.python, "-c", code, *names], check=True, capture_output=True, text=True).stdout
        return dict(json.loads(output))

    def run(
        self, given: IngestInput, output: Path, config: ImageConfig, settings: Img2datasetSettings
    ) -> Img2datasetRun:
        """Put the images of `given` into the folder `output`, which is deleted before."""
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
    """The newest img2dataset, installed into a virtual environment in `cache` the first time.

    Raises:
        UserError: no Python that it runs on is there, or it cannot be installed.
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
                    f"{PACKAGE} could not be installed into {folder}: `{' '.join(command)}` said:\n"
                    f"{(result.stdout + result.stderr)[-2000:]}\n"
                    "give pip what it lacks and run this again, or leave img2dataset out with --no-peer"
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
    """The settings with which it takes in most images a second: each choice by the better of two runs."""
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
    """A Python on which img2dataset runs: it needs the module imghdr, which went out with 3.13."""
    candidates = [sys.executable, *(shutil.which(f"python3.{minor}") for minor in (12, 11, 10))]
    for candidate in candidates:
        if candidate and not subprocess.run([candidate, "-c", "import imghdr, venv"], capture_output=True).returncode:
            return candidate
    raise UserError(f"{PACKAGE} needs a Python older than 3.13: put python3.12 on the path, or use --no-peer")

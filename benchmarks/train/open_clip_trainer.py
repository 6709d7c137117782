"""open_clip's own training, `open_clip_train.main`, of the open_clip that fclip uses: the same torch and kernels.

What it needs beyond that (webdataset, in a version that it takes) is installed into a folder of its own. It starts
from the same weights (`--model local-dir:`) and is given the same batches, optimiser, precision and crops. Mirrored
images cannot be asked of it, so fclip does not mirror either.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import requires, version
from pathlib import Path

from benchmarks.train import setup as given
from benchmarks.train.inputs import TrainingInput
from benchmarks.train.processes import run_measured
from benchmarks.train.setup import Precision, TrainingSetup
from benchmarks.train.throughput import TrainingRun, read_log
from fclip.errors import UserError
from fclip.export.webdataset import SIZES
from fclip.files import read_json

PACKAGE = "open_clip_torch"
FORMS = ("csv", "webdataset")
PRECISIONS = {"fp32": "fp32", "bf16": "amp_bf16"}


@dataclass(frozen=True)
class OpenClipTrainer:
    """open_clip's training, and where the packages are that it needs beyond this environment."""

    packages: Path

    def versions(self) -> dict[str, str]:
        """Of open_clip, and of what reads its shards."""
        found = next(self.packages.glob("webdataset-*.dist-info")).name
        return {"open_clip": version(PACKAGE), "webdataset": found.removesuffix(".dist-info").partition("-")[2]}

    def run(
        self,
        data: TrainingInput,
        folder: Path,
        setup: TrainingSetup,
        *,
        base_model: Path,
        form: str,
        workers: int,
        precision: Precision,
    ) -> TrainingRun:
        """Train on the files (`csv`) or the shards (`webdataset`), logging to `folder`, which is deleted after."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        options: dict[str, object] = {
            "model": f"local-dir:{base_model}",
            "dataset-type": form,
            "train-data": data.csv if form == "csv" else _braces(data.shards),
            "workers": workers,
            "batch-size": setup.batch_size,
            "epochs": setup.epochs,
            "precision": PRECISIONS[precision],
            "device": setup.device,
            "lr": given.LEARNING_RATE,
            "wd": given.WEIGHT_DECAY,
            "beta1": given.BETAS[0],
            "beta2": given.BETAS[1],
            "eps": given.EPS,
            "warmup": round(given.WARMUP_FRACTION * setup.steps * setup.epochs),
            "grad-clip-norm": given.GRAD_NORM,
            "aug-cfg": f"scale=({given.MIN_CROP_AREA},1.0)",
            "log-every-n-steps": setup.log_every,
            "save-frequency": 0,  # it saves after the last epoch
            "logs": folder,
            "name": "run",
        }
        command = [sys.executable, "-m", "open_clip_train.main"]
        command += [part for name, value in options.items() for part in (f"--{name}", str(value))]
        command += ["--torchcompile"] if setup.compile else []
        done = run_measured(
            command, cwd=folder, watch_gpu=setup.device == "cuda", PYTHONPATH=str(self.packages), DO_NOT_TRACK="1"
        )
        log = (folder / "run" / "out.log").read_text(encoding="utf-8").splitlines()
        windows = read_log(log, setup.batch_size)
        shutil.rmtree(folder)
        if not windows:
            raise UserError(f"open_clip_train logged no step:\n{done.output[-4000:]}")
        return TrainingRun(
            batch_size=setup.batch_size,
            steps_per_epoch=sum(window.steps for window in windows) // setup.epochs,
            edge_steps=setup.edge_steps,
            whole_seconds=done.seconds,
            windows=windows,
            gpu_bytes=done.gpu_bytes,
        )


def install(cache: Path) -> OpenClipTrainer:
    """What open_clip's training lacks here, installed into a folder of `cache` the first time.

    Raises:
        UserError: it cannot be installed.
    """
    folder = cache / "open_clip_train"
    done = folder / ".installed"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        webdataset = next(line for line in requires(PACKAGE) or () if line.startswith("webdataset")).partition(";")[0]
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--target", str(folder), webdataset.strip(), "braceexpand"]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            raise UserError(
                f"what open_clip's training needs could not be installed: `{' '.join(command)}` printed:\n"
                f"{(result.stdout + result.stderr)[-2000:]}\n"
                "give pip what it lacks and run this again, or leave open_clip out with --no-peer"
            )
        done.touch()
    return OpenClipTrainer(folder)


def tune(
    peer: OpenClipTrainer,
    data: TrainingInput,
    folder: Path,
    setup: TrainingSetup,
    *,
    base_model: Path,
    precision: Precision,
    show_progress: Callable[[str], None],
) -> dict[str, int]:
    """The number of workers with which it is fastest once settled, for each form: a run each if there is a choice."""
    if len(setup.workers) == 1:
        return dict.fromkeys(FORMS, setup.workers[0])
    best = {}
    for form in FORMS:
        rates = {}
        for workers in setup.workers:
            run = peer.run(data, folder, setup, base_model=base_model, form=form, workers=workers, precision=precision)
            rates[workers] = run.rate
            show_progress(f"open_clip, {form}, {precision}, {workers} workers: {run.rate:.1f} samples/s")
        best[form] = max(rates, key=lambda workers: rates[workers])
    return best


def _braces(shards: Path) -> str:
    """Shards as one pattern, as webdataset expands it."""
    names = sorted(read_json(shards / SIZES))
    return f"{shards}/{{{names[0].removesuffix('.tar')}..{names[-1].removesuffix('.tar')}}}.tar"

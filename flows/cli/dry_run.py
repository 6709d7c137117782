"""`fclip retrain --dry-run`: run every stage on a few rows and estimate the cost of the whole run.

The stages run in a copy of the workspace in a temporary folder. The workspace does not change; nothing is registered
or published.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from fclip.base_models.registry import base_models
from fclip.catalog.sources.registry import describe, source_kinds
from fclip.errors import UserError
from fclip.files import read_json
from fclip.mirror.addresses import is_remote
from fclip.training.config import FinetuneConfig
from flows.params import load_params
from flows.pipeline import read_pipeline, stage_environment
from tasks.workspace.paths import Workspace
from tasks.workspace.sources import source_access

ROWS = 200
BATCH_SIZE = 32  # a split of 200 rows must give a few batches


@dataclass(frozen=True)
class StageCost:
    """The measured cost of one stage on a few rows.

    Attributes:
        seconds, peak_mib: wall time and peak resident memory of the stage.
        base_seconds, base_mib: the same for a process that only imports the libraries.
        rows_ratio: number of all rows divided by the number of rows in the dry run.
    """

    stage: str
    seconds: float
    base_seconds: float
    peak_mib: float
    base_mib: float
    rows_ratio: float

    @property
    def estimated_seconds(self) -> float:
        """Estimate for all rows: the time above the base grows with the number of rows."""
        return self.base_seconds + max(0.0, self.seconds - self.base_seconds) * self.rows_ratio

    @property
    def estimated_mib(self) -> float:
        """Upper estimate for all rows: not all memory of a stage grows with the number of rows."""
        return self.base_mib + max(0.0, self.peak_mib - self.base_mib) * self.rows_ratio


def dry_run(workspace: Workspace, console: Console) -> list[StageCost]:
    """Run every stage on 200 rows of each dataset, and print and return the measured costs with estimates."""
    params = load_params(workspace)
    num_rows: dict[str, int] = {}
    for name, dataset in params.ingest.datasets.items():
        access = replace(source_access(workspace, params.ingest, name, refresh=False), limit=ROWS)
        num_rows[name] = int(str(describe(dataset.source, access)["num_rows"]))
        access.digests.save()
    trained = list(params.ingest.training_datasets)
    originals = {name: dataset.of for name, dataset in params.derive.datasets.items()}
    with _copy(workspace) as copy:
        _command(copy, [sys.executable, "-m", "flows.cli", "pin"])
        base_seconds, base_mib = _measure(copy, [sys.executable, "-c", "import dvc.repo, tasks.evaluate"])
        measured = []
        for stage in read_pipeline(copy).stages:
            console.print(f"Running {stage} on at most {ROWS} rows of each dataset …", highlight=False)
            seconds, mib = _measure(copy, [sys.executable, "-m", "dvc", "repro", "--single-item", stage])
            key = stage.partition("@")[2]
            datasets = [originals.get(key, key)] if key else trained
            num_all = sum(num_rows[name] for name in datasets)
            num_used = sum(min(ROWS, num_rows[name]) for name in datasets)
            measured.append(StageCost(stage, seconds, base_seconds, mib, base_mib, num_all / num_used))
    _print(console, measured, num_rows)
    return measured


@contextmanager
def _copy(workspace: Workspace) -> Iterator[Workspace]:
    """A temporary workspace with the code of `workspace` and its params, changed by `dry_run_params`."""
    with tempfile.TemporaryDirectory(prefix="fclip-dry-run-") as folder:
        root = Path(folder).resolve()
        for name in ("fclip", "tasks", "flows", "pins", "dvc.yaml", ".dvcignore"):
            source = workspace.root / name
            if source.is_dir():
                shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.exists():
                shutil.copyfile(source, root / name)
        values = yaml.safe_load(workspace.params.read_text(encoding="utf-8"))
        (root / "params.yaml").write_text(yaml.safe_dump(dry_run_params(values, workspace.root), sort_keys=False))
        for pin in (root / "pins").rglob("*.json"):
            pin.write_text("{}\n")
        (root / "cache").mkdir()
        for cache in (workspace.model_cache, workspace.mirror):
            if cache.is_dir():
                (root / "cache" / cache.name).symlink_to(cache)
        # With the digests of known source files, the dry run does not read these files again.
        for digests in workspace.cache.glob("ingest/*/files.parquet"):
            (root / "cache" / "ingest" / digests.parent.name).mkdir(parents=True)
            shutil.copyfile(digests, root / "cache" / "ingest" / digests.parent.name / digests.name)
        _command(Workspace(root), [sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"])
        yield Workspace(root)


def dry_run_params(values: dict[str, Any], root: Path) -> dict[str, Any]:
    """Return the params for a dry run outside `root`: few rows, small batches, absolute paths of sources and models."""
    datasets = {
        name: {**dataset, "source": _absolute_source(dataset["source"], root)}
        for name, dataset in values["ingest"]["datasets"].items()
    }
    batch_size = min(BATCH_SIZE, values["finetune"].get("batch_size", FinetuneConfig.batch_size))
    base = {**values["base"], "registered_model": f"{values['base']['registered_model']}-dry-run"}
    finetune = dict(values["finetune"])
    if finetune.get("distillation"):
        teacher = str((root / finetune["distillation"]["teacher"]).resolve())
        finetune["distillation"] = {**finetune["distillation"], "teacher": teacher}
    return {
        **values,
        "base": base,
        "ingest": {
            **values["ingest"],
            "settings": {**values["ingest"]["settings"], "limit": ROWS},
            "datasets": datasets,
        },
        "finetune": {
            **finetune,
            "batch_size": batch_size,
            "base_model": _absolute_base_model(values["finetune"]["base_model"], root),
        },
    }


def _absolute_source(source: dict[str, Any], root: Path) -> dict[str, Any]:
    """The source with absolute local paths; remote addresses do not change."""
    fields = source_kinds()[source["kind"]].path_fields
    paths = {key: source[key] for key in fields if source.get(key) is not None and not is_remote(source[key])}
    return source | {key: str((root / path).resolve()) for key, path in paths.items()}


def _absolute_base_model(base_model: dict[str, Any], root: Path) -> dict[str, Any]:
    """The base model with absolute paths for the fields that name existing folders."""
    if base_model["kind"] == "champion":
        return {**base_model, "otherwise": _absolute_base_model(base_model["otherwise"], root)}
    paths = {
        name: root / base_model[name] for name in base_models()[base_model["kind"]].path_fields if name in base_model
    }
    return {**base_model, **{name: str(path.resolve()) for name, path in paths.items() if path.exists()}}


def _command(workspace: Workspace, command: list[str]) -> None:
    environment = stage_environment() | {"PYTHONPATH": str(workspace.root)}
    result = subprocess.run(command, cwd=workspace.root, env=environment, capture_output=True, text=True)
    if result.returncode != 0:
        raise UserError(f"dry run: {(result.stderr or result.stdout).strip()}")


def _measure(workspace: Workspace, command: list[str]) -> tuple[float, float]:
    """Run a command and return its wall time in seconds and the peak resident MiB of its largest process."""
    environment = stage_environment() | {"PYTHONPATH": str(workspace.root)}
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command, cwd=workspace.root, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            output.seek(0)
            stage = command[-1]
            stage_status = workspace.stage_status(stage)
            message = read_json(stage_status)["message"] if stage_status.exists() else output.read().strip()
            raise UserError(f"dry run: {stage}: {message}")
    return time.monotonic() - began, usage.ru_maxrss / 1024


def _print(console: Console, measured: list[StageCost], num_rows: dict[str, int]) -> None:
    table = Table(
        "stage", title=f"Measured on {ROWS} rows per dataset, estimated for all rows", box=None, title_justify="left"
    )
    for heading in ("seconds", "MiB", "all rows: minutes", "all rows: MiB (at most)"):
        table.add_column(heading, justify="right")
    for stage in measured:
        table.add_row(
            stage.stage,
            f"{stage.seconds:.1f}",
            f"{stage.peak_mib:.0f}",
            f"{stage.estimated_seconds / 60:.1f}",
            f"{stage.estimated_mib:.0f}",
        )
    minutes = sum(stage.estimated_seconds for stage in measured) / 60
    table.add_row(
        "total", "", "", f"{minutes:.1f}", f"{max(stage.estimated_mib for stage in measured):.0f}", style="bold"
    )
    console.print(table)
    rows = ", ".join(f"{name} {number:,}" for name, number in num_rows.items())
    console.print(
        f"Rows: {rows}. The estimate assumes that time grows with the number of rows; "
        "evaluation takes less where `max_items` limits a split."
    )

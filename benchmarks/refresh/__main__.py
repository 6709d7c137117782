"""Measure the cost of a refresh after 1 % of the products are new, changed or deleted, as a share of a full pass.

python -m benchmarks.refresh --work DIR [--rounds N] [--limit N] [--out JSON]

The catalog is kagl, the champion is fclip-tiny. Each stage runs in its own process, as in the pipeline, and its wall
time is measured. The full pass has empty caches, and each round is a further day. Run nothing else at the same time.
DIR is replaced.
"""

import argparse
import hashlib
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.command import run_benchmark
from benchmarks.ingest.machine import machine_facts
from benchmarks.ingest.variants import ProductRow, RewrittenDataset, mirrored
from benchmarks.paths import DATASETS, PRESET, REPOSITORY, dataset_folder
from fclip.base_models import fclip_tiny
from fclip.base_models.pinning import pin_base_model
from fclip.base_models.towers import TowersConfig
from fclip.catalog.config import IngestConfig
from fclip.catalog.pin import current_pin
from fclip.files import sha256_tree
from fclip.registry.versions import VersionPin
from tasks.workspace.params import load_section, parse, read_params
from tasks.workspace.paths import Workspace
from tasks.workspace.pins import write_pin
from tasks.workspace.sources import source_access

NAME = "kagl"
BUCKETS = 300  # each day adds the products of one bucket, deletes those of another, and changes those of a third
MAX_ROUNDS = BUCKETS // 3
PUBLISH = "from tasks.publish import publish; from tasks.workspace.paths import Workspace; publish(Workspace.here())"
STEPS: dict[str, tuple[str, ...]] = {
    "ingest": ("-m", "tasks.ingest", NAME),
    "caption": ("-m", "tasks.caption", NAME),
    "gather": ("-m", "tasks.gather"),
    "embed": ("-m", "tasks.embed"),
    "publish": ("-c", PUBLISH),
}
LIMITED = ("caption", "embed")
LIMIT = 0.03  # of a full pass, for the sum of these stages


def measure(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Return the seconds of every stage: of the full pass, and of each round."""
    if not 1 <= arguments.rounds <= MAX_ROUNDS:
        raise SystemExit(f"--rounds must be from 1 to {MAX_ROUNDS}")
    facts = machine_facts()
    dataset = read_dataset(arguments.work.resolve() / "dataset", arguments.limit)
    workspace = make_workspace(arguments.work.resolve() / "workspace", dataset)
    passes = []
    for day in range(arguments.rounds + 1):
        num_rows = dataset.write(rows_of_day(dataset.rows(), day, arguments.rounds), "data.parquet")
        config = load_section(workspace, "ingest", IngestConfig)
        access = source_access(workspace, config, NAME, refresh=True)
        write_pin(workspace.source_pin(NAME), current_pin(NAME, config.datasets[NAME], access))
        passes.append({step: run_step(workspace, command) for step, command in STEPS.items()})
        seconds = ", ".join(f"{step} {value:.1f} s" for step, value in passes[-1].items())
        console.print(
            f"{'full pass' if day == 0 else f'day {day}'}: {num_rows:,} rows, {seconds}",
            highlight=False,
            soft_wrap=True,
        )
    full, refresh = passes[0], {step: statistics.median(each[step] for each in passes[1:]) for step in STEPS}
    show(console, full, refresh)
    share = sum(refresh[step] for step in LIMITED) / sum(full[step] for step in LIMITED)
    load = machine_facts()["load_average"]
    return {"machine": facts, "load_after": load, "limit": arguments.limit, "full": full, "rounds": passes[1:],
            "refresh": refresh, "caption_and_embed_share": share, "limit_share": LIMIT}  # fmt: skip


def rows_of_day(rows: Iterable[ProductRow], day: int, num_days: int) -> Iterator[ProductRow]:
    """Yield the rows of a day from 0 to `num_days`. 1 % of them differ from the rows of the day before."""
    for row in rows:
        bucket = int.from_bytes(hashlib.sha256(row.product_id.encode()).digest()[:8], "big") % BUCKETS
        happens_on, what = bucket // 3 + 1, bucket % 3
        if what == 0 and day < happens_on <= num_days:  # not there yet
            continue
        if what == 1 and day >= happens_on:
            continue
        yield changed(row) if what == 2 and day >= happens_on else row


def changed(row: ProductRow) -> ProductRow:
    """The product with its image mirrored, and with another title."""
    cells = {name: f"{value} in a new version" if name == "title" else value for name, value in row.cells.items()}
    return replace(row, image=mirrored(row.image), cells=cells)


def read_dataset(folder: Path, limit: int | None) -> RewrittenDataset:
    """Return the dataset, which is written to an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    preset = read_params(PRESET)["ingest"]["datasets"][NAME]
    source = {**preset["source"], "path": str(dataset_folder(DATASETS, NAME))}
    return RewrittenDataset.from_preset(NAME, {**preset, "source": source}, folder, limit)


def make_workspace(root: Path, dataset: RewrittenDataset) -> Workspace:
    """Create a workspace with the code of this repository, pinned base model, and fclip-tiny as the champion."""
    shutil.rmtree(root, ignore_errors=True)
    for package in ("fclip", "tasks"):
        shutil.copytree(REPOSITORY / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(REPOSITORY / "dvc.yaml", root / "dvc.yaml")
    params = read_params(PRESET)
    for section in ("caption", "evaluate"):
        params[section]["datasets"] = {NAME: params[section]["datasets"][NAME]}
    params["derive"] = {"datasets": {}}
    params["ingest"]["datasets"] = {NAME: dataset.config}
    workspace = Workspace(root)
    workspace.params.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    base_model = parse("finetune.base_model", params["finetune"]["base_model"], TowersConfig)
    write_pin(workspace.base_model_pin, pin_base_model(base_model, root=root, cache_dir=workspace.model_cache))
    champion = workspace.model_cache / "composed"
    champion.mkdir(parents=True)
    fclip_tiny.compose(champion)
    digest = sha256_tree(champion)
    champion.rename(workspace.model_cache / digest)
    write_pin(workspace.champion_pin, VersionPin("fclip-tiny", 1, digest))
    return workspace


def run_step(workspace: Workspace, command: tuple[str, ...]) -> float:
    """Run a stage or the publication in a new process, and return its seconds."""
    began = time.perf_counter()
    finished = subprocess.run([sys.executable, *command], cwd=workspace.root, capture_output=True, text=True)
    if finished.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{finished.stderr[-3000:]}")
    return time.perf_counter() - began


def show(console: Console, full: Mapping[str, float], refresh: Mapping[str, float]) -> None:
    """Print the seconds of each stage and their ratio; red if caption and embed cost more than the limit."""
    table = Table("stage", title="A refresh after 1 % changed", box=None, title_justify="left")
    for heading in ("full pass, s", "refresh, s", "share"):
        table.add_column(heading, justify="right")
    for step in STEPS:
        table.add_row(step, f"{full[step]:.1f}", f"{refresh[step]:.1f}", f"{refresh[step] / full[step]:.1%}")
    whole, part = (sum(each[step] for step in LIMITED) for each in (full, refresh))
    style = "bold red" if part > LIMIT * whole else "bold"
    table.add_row(" + ".join(LIMITED), f"{whole:.1f}", f"{part:.1f}", f"{part / whole:.1%}", style=style)
    table.caption, table.caption_justify = f"limit of {' + '.join(LIMITED)}: {LIMIT:.0%}", "left"
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.refresh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for the dataset and the workspace")
    parser.add_argument("--rounds", type=int, default=3, help="days after the full pass (default: 3)")
    parser.add_argument("--limit", type=int, help="number of rows of the dataset (default: all)")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    run_benchmark(parser, measure, Console())


if __name__ == "__main__":
    main()

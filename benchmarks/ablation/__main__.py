"""Train and evaluate variants of the recipe in params/kagl.yaml, one after another, and print them as a table.

python -m benchmarks.ablation --work DIR [--rows NAME ...] [--limit N] [--epochs N] [--out JSON]

benchmarks/ablation/rows.yaml defines the rows and what each of them changes. Finished rows stay in DIR and in the JSON
file and are not run again.
"""

import argparse
import copy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from benchmarks.ablation.report import show_results
from benchmarks.ablation.run import EVALUATED_DATASETS, AblationResult, benchmark_config, run_variant
from benchmarks.paths import DATASETS, PRESET
from benchmarks.workspaces import lay_out_workspace
from fclip.errors import UserError
from fclip.files import read_json, write_json
from fclip.training.config import FinetuneConfig, to_json
from tasks.workspace.params import parse, read_params
from tasks.workspace.paths import Workspace

ROWS = Path(__file__).with_name("rows.yaml")
WIDTH = 140


def apply_changes(section: Mapping[str, Any], changes: Mapping[str, Any]) -> FinetuneConfig:
    """Return the section `finetune` as a config with `changes` by keys such as `augment.flip`."""
    values = copy.deepcopy(dict(section))
    for path, value in changes.items():
        *parents, name = path.split(".")
        inner = values
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[name] = value
    return parse("finetune", values, FinetuneConfig)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ablation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    rows: dict[str, dict[str, Any]] = yaml.safe_load(ROWS.read_text(encoding="utf-8"))
    parser.add_argument("--work", type=Path, required=True, help="folder for the workspace and the trained models")
    parser.add_argument(
        "--rows", nargs="+", choices=list(rows), default=list(rows), metavar="NAME", help=", ".join(rows)
    )
    parser.add_argument("--limit", type=int, help="maximum number of rows per dataset (default: all)")
    parser.add_argument("--epochs", type=int, help="passes of each run (default: as in the preset)")
    parser.add_argument(
        "--role", choices=["select", "report"], default="select", help="role of the splits to evaluate on"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/ablation.json"))
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    section = {**read_params(PRESET)["finetune"], "device": arguments.device}
    if arguments.epochs:
        section["epochs"] = arguments.epochs
    done: list[AblationResult] = (
        [AblationResult(**row) for row in read_json(arguments.out)] if arguments.out.is_file() else []
    )
    try:
        configs = {name: apply_changes(section, rows[name]) for name in arguments.rows}
        workspace = Workspace(arguments.work.resolve() / f"workspace-{arguments.limit or 'all'}")
        if not workspace.training.is_dir():
            lay_out_workspace(
                workspace.root, DATASETS, EVALUATED_DATASETS, limit=arguments.limit, device=arguments.device
            )
        for name, config in configs.items():
            key = {"name": name, "limit": arguments.limit, "role": arguments.role, "epochs": config.epochs}
            if not any((row.key, row.config) == (key, to_json(benchmark_config(config))) for row in done):
                done = [row for row in done if row.key != key]  # results of an older definition of the row
                done.append(run_variant(workspace, key, config, arguments.work.resolve() / "jobs"))
                write_json(arguments.out, [vars(row) for row in done])
            show_results(console, [row for row in done if row.key["limit"] == arguments.limit])
    except UserError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()

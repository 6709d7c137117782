"""fclip-tiny's scores on data that trained nothing, beside those of what it started from.

python -m benchmarks.tiny --work DIR [--model DIR] [--role select|report] [--out JSON]

The protocols are those of params/fclip-tiny.yaml. Datasets are read from FCLIP_DATASETS; the first time they are laid
out in DIR, which takes minutes.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.command import run_benchmark
from benchmarks.tiny.workspace import PRESET, add_arguments, dataset_and_config, model_folder, workspace_in
from fclip.evaluation.run import Evaluation
from fclip.export.fclip_tiny import read_towers_config
from fclip.models.digests import model_sha256
from tasks.base_model import base_model_folder
from tasks.evaluate import evaluate_on
from tasks.workspace.params import read_params

METRICS = ("weighted_f1", "acc1", "recall_at_10", "mrr", "avg_precision_1_10")
WIDTH = 120


def measure(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Evaluate the model and its base model by every protocol of the preset."""
    workspace = workspace_in(arguments.work)
    model = model_folder(workspace, arguments.model)
    models = {"base_model": base_model_folder(workspace, read_towers_config(model)), "model": model}
    rows: list[dict[str, Any]] = []
    for name in read_params(PRESET)["evaluate"]["datasets"]:
        _, config = dataset_and_config(workspace, name)
        evaluation = evaluate_on(workspace, models, name, config=config, roles=(arguments.role,))
        rows += as_rows(evaluation)
    found = {"model_sha256": model_sha256(model), "role": arguments.role, "rows": rows}
    show(console, found)
    return found


def as_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One row a protocol and shown metric: the base model's value, the model's and its interval."""
    before = {(s.split, s.protocol, s.metric): s.estimate for s in evaluation.scores if s.model == "base_model"}
    return [
        {
            "dataset": evaluation.dataset,
            "protocol": entry.protocol,
            "metric": entry.metric,
            "num_items": entry.num_items,
            "base_model": before[entry.split, entry.protocol, entry.metric].value,
            "value": entry.estimate.value,
            "low": entry.estimate.low,
            "high": entry.estimate.high,
        }
        for entry in evaluation.scores
        if entry.model == "model" and entry.metric in METRICS
    ]


def show(console: Console, found: dict[str, Any]) -> None:
    """A row a protocol and metric."""
    table = Table(title=f"{found['role']} data; 95 % intervals", title_justify="left")
    for column in ("data", "protocol", "metric"):
        table.add_column(column)
    for column in ("items", "towers", "model", "interval"):
        table.add_column(column, justify="right")
    for row in found["rows"]:
        values = (f"{row['base_model']:.3f}", f"{row['value']:.3f}", f"{row['low']:.3f} – {row['high']:.3f}")
        table.add_row(row["dataset"], row["protocol"], row["metric"], str(row["num_items"]), *values)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tiny", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument("--role", choices=["select", "report"], default="report", help="which splits")
    parser.add_argument("--out", type=Path)
    run_benchmark(parser, measure, Console(width=None if sys.stdout.isatty() else WIDTH))


if __name__ == "__main__":
    main()

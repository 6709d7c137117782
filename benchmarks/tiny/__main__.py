"""fclip-tiny's scores on data that trained nothing, beside those of what it started from.

python -m benchmarks.tiny --work DIR [--model DIR] [--role select|report] [--out JSON]

The protocols are those of params/fclip-tiny.yaml and benchmarks/tiny/labels.yaml. The catalog is read from
FCLIP_DATASETS. The first time, datasets are laid out in DIR, which takes minutes.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.command import run
from benchmarks.tiny.workspace import PRESET, add_arguments, dataset_and_config, model_folder, workspace_in
from benchmarks.workspaces import start_folder
from fclip.evaluation.config import ClassificationConfig, DatasetEvaluation
from fclip.evaluation.items import DatasetFiles
from fclip.evaluation.run import Evaluation, evaluate_models
from fclip.models import store
from fclip.models.tiny import start_of
from tasks.evaluate import run_options
from tasks.params import read_params
from tasks.paths import Workspace

LABELS = Path(__file__).with_name("labels.yaml")
METRICS = ("classification.weighted_f1", "classification.acc1", "text_to_image.recall_at_10", "text_to_image.mrr")
MODELS = ("start", "model")
WIDTH = 120


def measure(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Evaluate the model and its start on every protocol."""
    workspace = workspace_in(arguments.work)
    model = model_folder(workspace, arguments.model)
    models = {"start": start_folder(start_of(model), workspace), "model": model}
    scores: dict[str, Any] = {}
    for name, (files, config) in protocols(workspace).items():
        evaluation = evaluate_models(
            models,
            files,
            config,
            cache=workspace.feature_cache,
            options=run_options(workspace),
            roles=(arguments.role,),
        )
        scores[name] = as_json(evaluation)
    found = {
        "model_sha256": store.model_sha256(model),
        "role": arguments.role,
        "scores": scores,
    }
    show(console, found)
    return found


def protocols(workspace: Workspace) -> dict[str, tuple[DatasetFiles, DatasetEvaluation]]:
    """What is evaluated, by the name of its row: a dataset and how."""
    found = {name: dataset_and_config(workspace, name) for name in read_params(PRESET)["evaluate"]["datasets"]}
    for name, entry in yaml.safe_load(LABELS.read_text(encoding="utf-8")).items():
        files, config = found[entry["dataset"]]
        assert config.classification is not None
        by_label = ClassificationConfig(label=entry["label"], templates=config.classification.templates, wordings={})
        found[name] = (files, replace(config, classification=by_label, retrieval=None))
    return found


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """{metric: {model: {"value", "low", "high", "num_items"}}}."""
    return {
        metric: {
            entry.model: {
                "value": entry.estimate.value,
                "low": entry.estimate.low,
                "high": entry.estimate.high,
                "num_items": entry.num_items,
            }
            for entry in evaluation.scores
            if f"{entry.protocol}.{entry.metric}" == metric
        }
        for metric in METRICS
        if any(f"{entry.protocol}.{entry.metric}" == metric for entry in evaluation.scores)
    }


def show(console: Console, found: dict[str, Any]) -> None:
    """A row a protocol and metric."""
    table = Table(title=f"Zero-shot, {found['role']} data; 95 % intervals", title_justify="left")
    for column in ("data", "metric"):
        table.add_column(column)
    for column in ("items", "towers", "model", "interval"):
        table.add_column(column, justify="right")
    for name, metrics in found["scores"].items():
        for metric, of in metrics.items():
            start, model = (of[each] for each in MODELS)
            interval = f"{model['low']:.3f} – {model['high']:.3f}"
            values = (f"{start['value']:.3f}", f"{model['value']:.3f}")
            table.add_row(name, metric.split(".")[1], str(model["num_items"]), *values, interval)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tiny", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument("--role", choices=["select", "report"], default="report", help="which splits")
    parser.add_argument("--out", type=Path)
    run(parser, measure, Console(width=None if sys.stdout.isatty() else WIDTH))


if __name__ == "__main__":
    main()

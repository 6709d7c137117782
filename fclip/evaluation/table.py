"""An evaluation as files: the long table, the numbers for `dvc metrics`, the rows for `dvc plots`."""

import csv
import io
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from fclip.evaluation.run import Evaluation

SCHEMA = pa.schema(
    [
        ("dataset", pa.string()),
        ("split", pa.string()),
        ("role", pa.string()),
        ("candidate", pa.string()),
        ("step", pa.int32()),
        ("model_sha256", pa.string()),
        ("protocol", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("standard_error", pa.float64()),
        ("num_items", pa.int32()),
        ("num_nonfinite", pa.int32()),
        ("primary", pa.bool_()),
    ]
)


def long_table(evaluation: Evaluation, steps: Mapping[str, int]) -> pa.Table:
    """One row for each candidate, split, protocol and metric."""
    rows = [
        {
            "dataset": evaluation.dataset,
            "split": entry.split,
            "role": entry.role,
            "candidate": entry.model,
            "step": steps.get(entry.model),
            "model_sha256": entry.model_sha256,
            "protocol": entry.protocol,
            "metric": entry.metric,
            "value": entry.estimate.value,
            "low": entry.estimate.low,
            "high": entry.estimate.high,
            "standard_error": entry.estimate.standard_error,
            "num_items": entry.num_items,
            "num_nonfinite": evaluation.num_nonfinite[entry.model],
            "primary": entry.primary,
        }
        for entry in evaluation.scores
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def metrics_json(evaluation: Evaluation) -> dict[str, Any]:
    """{role: {candidate: {"<protocol>.<metric>": value}}}."""
    found: dict[str, Any] = {}
    for entry in evaluation.scores:
        values = found.setdefault(entry.role, {}).setdefault(entry.model, {})
        values[f"{entry.protocol}.{entry.metric}"] = round(entry.estimate.value, 6)
    return found


def plot_csv(evaluation: Evaluation, steps: Mapping[str, int]) -> str:
    """The primary metric over the candidates, one line a role."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["dataset", "role", "candidate", "step", "score", "low", "high"])
    for entry in evaluation.scores:
        if entry.primary:
            values = (entry.estimate.value, entry.estimate.low, entry.estimate.high)
            row = [evaluation.dataset, entry.role, entry.model, steps.get(entry.model, "")]
            writer.writerow([*row, *(f"{value:.6f}" for value in values)])
    return text.getvalue()

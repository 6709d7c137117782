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
        ("kind", pa.string()),
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


DRAWS = pa.schema([("candidate", pa.string()), ("split", pa.string()), ("draws", pa.list_(pa.float32()))])


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
            "kind": entry.kind,
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


def draws_table(evaluation: Evaluation) -> pa.Table:
    """The primary metric of each candidate on what selects, in each resample: what tells near-ties."""
    rows = [
        {"candidate": entry.model, "split": entry.split, "draws": entry.estimate.draws}
        for entry in evaluation.scores
        if entry.primary and entry.role == "select"
    ]
    return pa.Table.from_pylist(rows, schema=DRAWS)


def metrics_json(evaluation: Evaluation) -> dict[str, Any]:
    """{role: {candidate: {"<protocol>.<metric>": value}}}."""
    names = _role_names(evaluation)
    found: dict[str, Any] = {}
    for entry in evaluation.scores:
        values = found.setdefault(names[entry.split], {}).setdefault(entry.model, {})
        values[f"{entry.protocol}.{entry.metric}"] = round(entry.estimate.value, 6)
    return found


def plot_csv(evaluation: Evaluation, steps: Mapping[str, int]) -> str:
    """The primary metric over the candidates: a row each, and for each role a column with its interval's bounds."""
    names = _role_names(evaluation)
    rows: dict[str, list[str]] = {}
    for entry in evaluation.scores:
        if entry.primary:
            row = rows.setdefault(entry.model, [evaluation.dataset, entry.model, str(steps[entry.model])])
            row += [f"{value:.6f}" for value in (entry.estimate.value, entry.estimate.low, entry.estimate.high)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [column for role in names.values() for column in (role, f"{role}_low", f"{role}_high")]
    writer.writerows([["dataset", "candidate", "step", *columns], *rows.values()])
    return text.getvalue()


def _role_names(evaluation: Evaluation) -> dict[str, str]:
    """Split -> its role, or `<role>_<split>` where several splits have that role; in the order of the scores."""
    roles = {entry.split: entry.role for entry in evaluation.scores}
    several = [role for role in roles.values() if list(roles.values()).count(role) > 1]
    return {split: f"{role}_{split}" if role in several else role for split, role in roles.items()}

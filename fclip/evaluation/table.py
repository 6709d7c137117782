"""An evaluation as tables: a row for each metric, and the resamples of the primary metric."""

from collections.abc import Mapping

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

"""Tables of an evaluation: one row per metric, and the bootstrap values of the held metrics."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from fclip.evaluation.run import Evaluation

EVALUATED_ROLES = ("select", "report")
"""Roles of the splits that are evaluated."""
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
        ("held", pa.bool_()),
    ]
)


DRAWS = pa.schema(
    [
        ("candidate", pa.string()),
        ("split", pa.string()),
        ("metric", pa.string()),
        ("draws", pa.list_(pa.float32())),
    ]
)


@dataclass(frozen=True)
class ScoreRow:
    """A row of the long table: one metric of one candidate on one split, with its interval.

    Attributes:
        step: number of training steps; None if unknown.
        protocol: its name in params, followed by its part if it has parts (`retrieval.text_to_image`). kind: its kind.
        num_nonfinite: number of images and texts of the whole dataset whose features are not finite.
        primary: whether this is the dataset's primary metric. held: whether selection and the gate compare it.
    """

    dataset: str
    split: str
    role: str
    candidate: str
    step: int | None
    model_sha256: str
    protocol: str
    kind: str
    metric: str
    value: float
    low: float
    high: float
    standard_error: float
    num_items: int
    num_nonfinite: int
    primary: bool
    held: bool

    @property
    def full_metric(self) -> str:
        """`<protocol>.<metric>`."""
        return f"{self.protocol}.{self.metric}"


def score_rows(evaluation: "Evaluation", steps: Mapping[str, int]) -> list[ScoreRow]:
    """Return one row for each candidate, split, protocol and metric."""
    return [
        ScoreRow(
            dataset=evaluation.dataset,
            split=entry.split,
            role=entry.role,
            candidate=entry.model,
            step=steps.get(entry.model),
            model_sha256=entry.model_sha256,
            protocol=entry.protocol,
            kind=entry.kind,
            metric=entry.metric,
            value=entry.estimate.value,
            low=entry.estimate.low,
            high=entry.estimate.high,
            standard_error=entry.estimate.standard_error,
            num_items=entry.num_items,
            num_nonfinite=evaluation.num_nonfinite[entry.model],
            primary=entry.primary,
            held=entry.held,
        )
        for entry in evaluation.scores
    ]


def long_table(evaluation: "Evaluation", steps: Mapping[str, int]) -> pa.Table:
    """Return the rows of `score_rows` as a table."""
    return pa.Table.from_pylist([asdict(row) for row in score_rows(evaluation, steps)], schema=SCHEMA)


def read_score_rows(path: Path) -> list[ScoreRow]:
    """Read the rows of a long table from the Parquet file `path`. Raises FileNotFoundError if it is missing."""
    return [ScoreRow(**row) for row in pq.read_table(path).to_pylist()]


def draws_table(evaluation: "Evaluation") -> pa.Table:
    """Return the held metrics of each candidate on selection data in each resample, for paired differences."""
    rows = [
        {
            "candidate": entry.model,
            "split": entry.split,
            "metric": entry.full_metric,
            "draws": entry.estimate.draws,
        }
        for entry in evaluation.scores
        if entry.held and entry.role == "select"
    ]
    return pa.Table.from_pylist(rows, schema=DRAWS)

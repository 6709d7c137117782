"""A run's scores as a table to study rules on: a Parquet file that is small enough to commit.

A row a candidate and dataset: who it is, its score on the whole of what selects, on either half of it, in a few
hundred resamples, and what was measured without labels.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.selection.regret import ScoreTable
from fclip.errors import UserError
from fclip.evaluation.protocols.label_free import LABEL_FREE
from fclip.files import atomic_path
from fclip.models.candidates import Candidate
from fclip.selection.candidates import Floats, Score, ScoredCandidate

SCHEMA = pa.schema(
    [
        ("candidate", pa.string()),
        ("step", pa.int32()),
        ("model_sha256", pa.string()),
        ("average", pa.bool_()),
        ("distance", pa.float32()),
        ("val_loss", pa.float32()),
        ("num_nonfinite", pa.int32()),
        ("dataset", pa.string()),
        ("in_domain", pa.bool_()),
        ("num_items", pa.int32()),
        ("value", pa.float32()),
        ("half_0", pa.float32()),
        ("half_1", pa.float32()),
        ("standard_error", pa.float32()),
        ("draws", pa.list_(pa.float16())),
        *((metric, pa.float32()) for metric in LABEL_FREE),
    ]
)
# A table tells averages from other candidates, but keeps neither their kinds nor their parents: no rule reads those.
AVERAGE = "average"
UNKNOWN_PARENTS = {"unknown": 1.0}


def write_run(candidates: Sequence[ScoredCandidate], halves: Mapping[str, Floats], path: Path) -> None:
    """Write one run.

    Args:
        candidates: the base model first.
        halves: dataset -> float64 [n, 2], of every dataset, in domain or not.
    """
    rows = [
        {
            "candidate": scored.candidate.name,
            "step": scored.candidate.step,
            "model_sha256": scored.candidate.model_sha256,
            "average": scored.candidate.is_average,
            "distance": scored.candidate.distance,
            "val_loss": scored.candidate.val_loss,
            "num_nonfinite": scored.num_nonfinite,
            "dataset": dataset,
            "in_domain": dataset in scored.in_domain,
            "num_items": score.num_items,
            "value": score.value,
            "half_0": halves[dataset][number, 0],
            "half_1": halves[dataset][number, 1],
            "standard_error": score.standard_error,
            "draws": score.draws.astype(np.float16),
            **{metric: scored.label_free.get(dataset, {}).get(metric) for metric in LABEL_FREE},
        }
        for number, scored in enumerate(candidates)
        for dataset, score in {**scored.in_domain, **scored.out_of_domain}.items()
    ]
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), temporary, compression="zstd")


def read_run(path: Path) -> ScoreTable:
    """The run that `write_run` wrote; its name is the file's. Epochs and the kinds of candidates are not kept.

    Raises:
        UserError: the file is missing or no such table.
    """
    try:
        rows = pq.read_table(path, schema=SCHEMA).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} is no table of a run: {error}") from error
    by_candidate: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_candidate.setdefault(row["candidate"], []).append(row)
    inside = sorted({row["dataset"] for row in rows if row["in_domain"]})
    outside = sorted({row["dataset"] for row in rows if not row["in_domain"]})
    if not inside or len(outside) < 2:
        raise UserError(f"{path}: a run needs a dataset in domain and two outside, one to choose by, one to hold out")

    def halves(dataset: str) -> Floats:
        own = [next(row for row in found if row["dataset"] == dataset) for found in by_candidate.values()]
        return np.array([[row["half_0"], row["half_1"]] for row in own], np.float64)

    return ScoreTable(
        name=path.stem,
        candidates=tuple(_candidate(found, is_base=number == 0) for number, found in enumerate(by_candidate.values())),
        halves={dataset: halves(dataset) for dataset in outside},
        cost=np.mean([halves(dataset) for dataset in inside], axis=0),
    )


def _candidate(rows: Sequence[Mapping[str, Any]], *, is_base: bool) -> ScoredCandidate:
    first = rows[0]
    scores = {
        row["dataset"]: Score(
            row["value"], row["standard_error"], row["num_items"], np.asarray(row["draws"], np.float64)
        )
        for row in sorted(rows, key=lambda row: row["dataset"])
    }
    inside = {row["dataset"] for row in rows if row["in_domain"]}
    return ScoredCandidate(
        Candidate(
            name=first["candidate"],
            kind="base" if is_base else AVERAGE if first["average"] else "checkpoint",
            step=first["step"],
            epoch=0.0,
            model_sha256=first["model_sha256"],
            val_loss=first["val_loss"],
            parents=UNKNOWN_PARENTS if first["average"] else {},
            distance=first["distance"],
        ),
        in_domain={name: score for name, score in scores.items() if name in inside},
        out_of_domain={name: score for name, score in scores.items() if name not in inside},
        label_free={
            row["dataset"]: {metric: row[metric] for metric in LABEL_FREE}
            for row in rows
            if all(row[metric] is not None for metric in LABEL_FREE)
        },
        num_nonfinite=first["num_nonfinite"],
    )

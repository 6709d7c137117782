"""A run's scores as a Parquet file that is small enough to commit. Selection rules are studied on these tables.

One row per candidate and score: the candidate, its primary metric on a dataset or another metric that selection holds
in domain (`<dataset>.<metric>`), on all select items, on each half of them and in a few hundred resamples, and its
label-free metrics.
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
# A table marks averages but keeps neither their kinds nor their parents, because no rule reads those.
AVERAGE = "average"
METRIC = "."
"""In the name of a score, between a dataset and a metric that is not its primary one."""
UNKNOWN_PARENTS = {"unknown": 1.0}


def write_run(candidates: Sequence[ScoredCandidate], halves: Mapping[str, Floats], path: Path) -> None:
    """Write the table of one run.

    Args:
        candidates: the base model first.
        halves: dataset -> float64 [n, 2], for every dataset and every other metric held in domain.
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
            "in_domain": dataset in scored.held,
            "num_items": score.num_items,
            "value": score.value,
            "half_0": halves[dataset][number, 0],
            "half_1": halves[dataset][number, 1],
            "standard_error": score.standard_error,
            "draws": score.draws.astype(np.float16),
            **{metric: scored.label_free.get(dataset, {}).get(metric) for metric in LABEL_FREE},
        }
        for number, scored in enumerate(candidates)
        for dataset, score in {**scored.held, **scored.out_of_domain}.items()
    ]
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), temporary, compression="zstd")


def read_run(path: Path) -> ScoreTable:
    """Read a table that `write_run` wrote, named after the file. Epochs and the kinds of candidates are not stored.

    Raises:
        UserError: the file is missing or is not such a table.
    """
    try:
        rows = pq.read_table(path, schema=SCHEMA).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} is not the table of a run: {error}") from error
    by_candidate: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_candidate.setdefault(row["candidate"], []).append(row)
    held = sorted({row["dataset"] for row in rows if row["in_domain"]})
    in_domain = [name for name in held if METRIC not in name]
    out_of_domain = sorted({row["dataset"] for row in rows if not row["in_domain"]})
    if not in_domain or len(out_of_domain) < 2:
        raise UserError(f"{path}: a run needs an in-domain dataset and at least two out-of-domain datasets")

    def halves(dataset: str) -> Floats:
        of_dataset = [next(row for row in group if row["dataset"] == dataset) for group in by_candidate.values()]
        return np.array([[row["half_0"], row["half_1"]] for row in of_dataset], np.float64)

    return ScoreTable(
        name=path.stem,
        candidates=tuple(_candidate(group, is_base=number == 0) for number, group in enumerate(by_candidate.values())),
        halves={dataset: halves(dataset) for dataset in out_of_domain},
        cost=np.mean([halves(dataset) for dataset in in_domain], axis=0),
        more_costs={name: halves(name) for name in held if METRIC in name},
    )


def _candidate(rows: Sequence[Mapping[str, Any]], *, is_base: bool) -> ScoredCandidate:
    first = rows[0]
    scores = {
        row["dataset"]: Score(
            row["value"], row["standard_error"], row["num_items"], np.asarray(row["draws"], np.float64)
        )
        for row in sorted(rows, key=lambda row: row["dataset"])
    }
    held = {row["dataset"] for row in rows if row["in_domain"]}
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
        in_domain={name: score for name, score in scores.items() if name in held and METRIC not in name},
        out_of_domain={name: score for name, score in scores.items() if name not in held},
        label_free={
            row["dataset"]: {metric: row[metric] for metric in LABEL_FREE}
            for row in rows
            if all(row[metric] is not None for metric in LABEL_FREE)
        },
        num_nonfinite=first["num_nonfinite"],
        more_held={name: score for name, score in scores.items() if name in held and METRIC in name},
    )

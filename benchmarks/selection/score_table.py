"""Read a table of models' scores from JSON lines: one object per model, with its name and one number per dataset."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.selection.regret import ScoreTable
from fclip.errors import UserError
from fclip.files import sha256_bytes
from fclip.models.candidates import Candidate
from fclip.selection.candidates import Floats, Score, ScoredCandidate

NAME = "model_name"


def read_scores(paths: Sequence[Path], *, base_model: str, in_domain: str, cost: str) -> ScoreTable:
    """Read the models of one or more files, the base model first. All other columns are out-of-domain datasets.

    Args:
        base_model: the name of the model that the others were fine-tuned from.
        in_domain: the column of the in-domain score that rules read.
        cost: the column that measures the in-domain cost.

    Raises:
        UserError: a file is missing or is not such a table, a score is not a number, a name is duplicated, a column or
            the base model does not exist, or there are fewer than two out-of-domain datasets.
    """
    rows = [row for path in paths for row in _rows(path)]
    names = [row[NAME] for row in rows]
    if duplicates := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"the model {duplicates[0]} has more than one row; remove all but one")
    if base_model not in names:
        raise UserError(f"no model `{base_model}` for --base-model; the models are {', '.join(names[:20])} …")
    columns = [column for column in rows[0] if column != NAME]
    out_of_domain = [column for column in columns if column not in (in_domain, cost)]
    for column in (in_domain, cost):
        if column not in columns:
            raise UserError(f"{paths[0]} has no dataset `{column}`; its datasets are {', '.join(columns)}")
    if len(out_of_domain) < 2:
        raise UserError(f"only {len(out_of_domain)} out-of-domain datasets; at least two are needed")
    ordered = sorted(rows, key=lambda row: row[NAME] != base_model)
    values = [{column: _number(row, column) for column in columns} for row in ordered]
    return ScoreTable(
        name=paths[0].stem,
        candidates=tuple(
            ScoredCandidate(
                Candidate(
                    name=row[NAME],
                    kind="base" if row[NAME] == base_model else "checkpoint",
                    step=0,
                    epoch=0.0,
                    model_sha256=sha256_bytes(row[NAME].encode()),
                    distance=0.0 if row[NAME] == base_model else None,
                ),
                in_domain={in_domain: Score(scores[in_domain], 0.0, 0)},
                out_of_domain={name: Score(scores[name], 0.0, 0) for name in out_of_domain},
            )
            for row, scores in zip(ordered, values, strict=True)
        ),
        halves={name: _as_halves([scores[name] for scores in values]) for name in out_of_domain},
        cost=_as_halves([scores[cost] for scores in values]),
    )


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number}: invalid JSON: {error}") from error
        if not isinstance(row, dict) or not isinstance(row.get(NAME), str):
            raise UserError(f'{path}, line {number}: expected an object with "{NAME}" and one number per dataset')
        rows.append(row)
    if not rows:
        raise UserError(f"{path} contains no model")
    return rows


def _as_halves(values: list[float]) -> Floats:
    return np.repeat(np.array(values)[:, None], 2, axis=1)


def _number(row: dict[str, Any], column: str) -> float:
    value = row.get(column)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"{row[NAME]}: the score on {column} must be a number, not {value!r}")
    return float(value)

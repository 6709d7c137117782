"""A table of models' scores, as JSON lines: one object a model, a name and a number a dataset."""

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
    """The models of some files, the base model first; every other column of numbers is an outside dataset.

    Args:
        start: the name of the model that the others were tuned from.
        in_domain: the column that rules may read in domain. cost: that by which the in-domain cost is measured.

    Raises:
        UserError: a file is missing or no such table, a number is none, a name is there twice, or there are fewer than
            two outside datasets to hold one out of.
    """
    rows = [row for path in paths for row in _rows(path)]
    names = [row[NAME] for row in rows]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"the model {twice[0]} is there twice: leave out one of its rows")
    if base_model not in names:
        raise UserError(f"no model `{base_model}` to start from: there are {', '.join(names[:20])} …")
    columns = [column for column in rows[0] if column != NAME]
    outside = [column for column in columns if column not in (in_domain, cost)]
    for column in (in_domain, cost):
        if column not in columns:
            raise UserError(f"{paths[0]} has no dataset `{column}`: it has {', '.join(columns)}")
    if len(outside) < 2:
        raise UserError(f"there are {len(outside)} outside datasets: two are needed, one to choose by, one to hold out")
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
                in_domain={in_domain: Score(own[in_domain], 0.0, 0)},
                out_of_domain={name: Score(own[name], 0.0, 0) for name in outside},
            )
            for row, own in zip(ordered, values, strict=True)
        ),
        halves={name: _twice([own[name] for own in values]) for name in outside},
        cost=_twice([own[cost] for own in values]),
    )


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    found = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number}: no JSON: {error}") from error
        if not isinstance(row, dict) or not isinstance(row.get(NAME), str):
            raise UserError(f'{path}, line {number}: expected an object with "{NAME}" and a number a dataset')
        found.append(row)
    if not found:
        raise UserError(f"{path} holds no model")
    return found


def _twice(values: list[float]) -> Floats:
    return np.repeat(np.array(values)[:, None], 2, axis=1)


def _number(row: dict[str, Any], column: str) -> float:
    value = row.get(column)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"{row[NAME]}: its score on {column} must be a number, not {value!r}")
    return float(value)

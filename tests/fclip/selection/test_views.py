"""The metrics and plots of a selection that DVC shows."""

import csv
import io

import pytest

from fclip.models.candidates import Candidate
from fclip.selection.result import CandidateResult, DatasetScore, SelectionResult
from fclip.selection.views import PrimaryScore, curves_csv, frontier_csv, headline_metrics


def entry(
    name: str, kind: str, step: int, in_domain: float, street: float, *, num_nonfinite: int = 0
) -> CandidateResult:
    parents = {"step-000010": 0.5, "base-model": 0.5} if kind == "interpolated" else {}
    candidate = Candidate(name, kind, step, step / 10, "0" * 64, parents=parents)
    scores = {"street": DatasetScore(street, 0.1, 0.0, 0.01), "home": DatasetScore(street + 0.2, 0.3, 0.0, 0.01)}
    return CandidateResult(candidate, 0.5, in_domain, scores, eligible=True, num_nonfinite=num_nonfinite)


RESULT = SelectionResult(
    rule="last",
    in_domain_tolerance=0.1,
    tie_confidence=None,
    winner="step-000010-at-0.50",
    best="step-000010-at-0.50",
    near_ties=(),
    reason="",
    warning=None,
    choices={},
    in_domain_datasets=("studio",),
    candidates=(
        entry("base-model", "base", 0, 0.3, 0.1),
        entry("step-000010", "checkpoint", 10, 0.8, 0.2),
        entry("step-000010-at-0.50", "interpolated", 10, 0.75, 0.4),
        entry("ema-000010", "ema", 10, 0.99, 0.4, num_nonfinite=1),
    ),
)
SCORES = [
    PrimaryScore(dataset, role, candidate, value, num_items)
    for candidate, value in (("base-model", 0.25), ("step-000010", 0.5), ("step-000010-at-0.50", 0.75))
    for dataset, role, num_items in (("street", "select", 100), ("street", "report", 10), ("studio", "report", 10))
]


def test_headline_metrics_by_dataset_and_role() -> None:
    assert headline_metrics(RESULT, SCORES) == {
        "selected": {"street": {"select": 0.75, "report": 0.75}, "studio": {"report": 0.75}},
        "in_domain_cost": pytest.approx(0.05),  # the candidate with nonfinite features does not count
        "base": {"street": {"select": 0.25, "report": 0.25}, "studio": {"report": 0.25}},
    }


def test_splits_of_one_role_are_weighted_by_items() -> None:
    several = [
        PrimaryScore("home", "report", "base-model", 0.5, 10),
        PrimaryScore("home", "report", "base-model", 0.8, 20),
    ]
    assert headline_metrics(RESULT, several)["base"] == {"home": {"report": pytest.approx(0.7)}}


def test_frontier_has_a_row_for_each_candidate() -> None:
    rows = list(csv.DictReader(io.StringIO(frontier_csv(RESULT))))
    assert [row["candidate"] for row in rows] == [each.name for each in RESULT.candidates]
    assert [row["kind"] for row in rows] == ["base", "checkpoint", "interpolated", "ema"]
    assert (float(rows[2]["in_domain"]), float(rows[2]["out_of_domain"])) == (0.75, 0.5)


def test_curves_contain_only_base_model_and_checkpoints() -> None:
    rows = list(csv.DictReader(io.StringIO(curves_csv(RESULT, SCORES))))
    studio = [row for row in rows if row["dataset"] == "studio"]
    assert [(row["role"], row["candidate"], row["step"], row["value"]) for row in studio] == [
        ("report", "base-model", "0", "0.25"),
        ("report", "step-000010", "10", "0.5"),
    ]
    assert {(row["dataset"], row["role"]) for row in rows} == {
        ("street", "select"),
        ("street", "report"),
        ("studio", "report"),
    }

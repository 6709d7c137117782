"""Training in several processes equals training in one process."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from fclip.errors import UserError
from fclip.training.config import ObjectiveConfig
from fclip.training.job import run_job
from fclip.training.processes import World
from fclip.training.stop import Interrupted
from tests.conftest import REPOSITORY
from tests.fclip.training.test_objectives import TEXTS, inputs_of, make_learner
from tests.fclip.training.training_jobs import make_job, make_objective

CASES: dict[str, ObjectiveConfig] = {
    "siglip": make_objective(loss="siglip"),
    "clip in micro-batches": make_objective(loss="clip", micro_batch_size=2),
}


def run_steps(base_model: Path, world: World, objective: ObjectiveConfig) -> dict[str, Any]:
    """The losses and gradient norms of three updates on a batch of six, and the gradients of the first."""
    learner = make_learner(base_model, world=world, objective=objective, clip_grad_norm=1e9)
    inputs = inputs_of(learner, [*TEXTS, TEXTS[0]], world.rows(6))
    updates = [learner.update(inputs, rate=1e-3, num_updates=0, seed=0)]
    gradients = {name: parameter.grad.clone() for name, parameter in learner.parameters.items()}
    updates += [learner.update(inputs, rate=1e-3, num_updates=n, seed=n) for n in (1, 2)]
    return {
        "losses": [each.loss for each in updates],
        "norms": [each.gradient_norm for each in updates],
        "gradients": gradients,
    }


SESSION = """
import sys
from pathlib import Path
import torch
from fclip.training.processes import join_processes
from tests.fclip.training.test_processes import CASES, run_steps

with join_processes(torch.device("cpu")) as world:
    found = {name: run_steps(Path(sys.argv[1]), world, objective) for name, objective in CASES.items()}
    if world.is_leader:
        torch.save(found, sys.argv[2])
"""


@pytest.fixture(scope="module")
def in_two_processes(tiny_base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What `run_steps` returns for each case in two processes."""
    folder = tmp_path_factory.mktemp("processes")
    (folder / "session.py").write_text(SESSION)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(folder / "session.py")]
    command = [sys.executable, *launcher, str(tiny_base_model), str(folder / "found.pt")]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-3000:]
    return dict(torch.load(folder / "found.pt", weights_only=True))


@pytest.mark.parametrize("case", CASES)
def test_two_processes_equal_one_process_on_the_whole_batch(
    case: str, in_two_processes: dict[str, dict[str, Any]], tiny_base_model: Path
) -> None:
    one, two = run_steps(tiny_base_model, World(), CASES[case]), in_two_processes[case]
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-5)
    assert two["norms"] == pytest.approx(one["norms"], rel=1e-4)
    for name, gradient in one["gradients"].items():
        torch.testing.assert_close(two["gradients"][name], gradient, rtol=1e-4, atol=1e-5)


def test_a_job_in_two_processes_resumes_and_equals_one_process(
    tmp_path: Path, shop: Path, tiny_base_model: Path
) -> None:
    """`run_job` starts the processes. They are interrupted and resumed."""
    changes: dict[str, Any] = {"objective": make_objective(positives="shared"), "epochs": 2, "ema_decay": 0.9}
    one = run_job(make_job(tmp_path / "one", shop, tiny_base_model, **changes))
    job = make_job(tmp_path / "two", shop, tiny_base_model, processes=2, **changes)
    with pytest.raises(Interrupted):
        run_job(job, stop=lambda step: any((job / "work").rglob("step-*.pt")))
    two = run_job(job)
    listed = [json.loads((out / "candidates.json").read_text()) for out in (one, two)]
    assert [each["name"] for each in listed[0]] == [each["name"] for each in listed[1]]
    single, double = (column(out / "validation.csv", "val_loss") for out in (one, two))
    assert double == pytest.approx(single, rel=1e-3)
    single, double = (column(out / "history.csv", "train_loss") for out in (one, two))
    assert double == pytest.approx(single, rel=1e-3)


def column(path: Path, name: str) -> list[float]:
    with path.open() as file:
        return [float(row[name]) for row in csv.DictReader(file)]


def test_the_batch_size_must_be_a_multiple_of_the_processes(tmp_path: Path, shop: Path, tiny_base_model: Path) -> None:
    job = make_job(tmp_path / "job", shop, tiny_base_model, processes=2, batch_size=7)
    with pytest.raises(UserError, match="batch_size is 7, which is not a multiple of the 2 processes"):
        run_job(job)


def test_an_error_in_one_process_is_raised_in_the_caller(tmp_path: Path, shop: Path, tiny_base_model: Path) -> None:
    job = make_job(tmp_path / "job", shop, tiny_base_model, processes=2, batch_size=42)
    with pytest.raises(UserError, match="40 training products are fewer than one batch of 42"):
        run_job(job)

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
from fclip.training.job import run_job
from fclip.training.stop import Interrupted
from tests.conftest import REPOSITORY
from tests.fclip.training.training_jobs import make_job, make_objective

STEP = """
import sys
from pathlib import Path
import torch
from fclip.training.processes import join_processes
from tests.fclip.training.test_objectives import TEXTS, inputs_of, make_learner
from tests.fclip.training.training_jobs import make_objective

base_model, loss, micro, out = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) or None, Path(sys.argv[4])
with join_processes(torch.device("cpu")) as world:
    objective = make_objective(loss=loss, micro_batch_size=micro)
    learner = make_learner(base_model, world=world, objective=objective, clip_grad_norm=1e9)
    inputs = inputs_of(learner, [*TEXTS, TEXTS[0]], world.rows(6))
    updates = [learner.update(inputs, rate=1e-3, num_updates=0, seed=0)]
    gradients = {name: parameter.grad.clone() for name, parameter in learner.parameters.items()}
    updates += [learner.update(inputs, rate=1e-3, num_updates=n, seed=n) for n in (1, 2)]
    if world.is_leader:
        result = {"losses": [each.loss for each in updates], "norms": [each.gradient_norm for each in updates]}
        torch.save({**result, "gradients": gradients}, out)
"""


def run_steps(base_model: Path, loss: str, micro: int, out: Path, num_processes: int) -> dict[str, Any]:
    script = out.with_suffix(".py")
    script.write_text(STEP)
    launcher = (
        []
        if num_processes == 1
        else ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num_processes}"]
    )
    command = [sys.executable, *launcher, str(script), str(base_model), loss, str(micro), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-3000:]
    return dict(torch.load(out, weights_only=True))


@pytest.mark.parametrize(("loss", "micro"), [("siglip", 0), ("clip", 2)])
def test_two_processes_equal_one_process_on_the_whole_batch(
    loss: str, micro: int, tmp_path: Path, tiny_base_model: Path
) -> None:
    one, two = (run_steps(tiny_base_model, loss, micro, tmp_path / f"{size}.pt", size) for size in (1, 2))
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

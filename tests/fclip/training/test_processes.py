"""Several processes: the loss and gradients of one on the joined batch; whole runs by torch's launcher."""

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
from fclip.training.processes import joined
from tests.fclip.training.test_objectives import TEXTS, inputs_of, make_learner
from tests.fclip.training.training_jobs import make_objective

start, loss, micro, out = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) or None, Path(sys.argv[4])
with joined(torch.device("cpu")) as world:
    objective = make_objective(loss=loss, micro_batch_size=micro)
    learner = make_learner(start, world=world, objective=objective, clip_grad_norm=1e9)
    inputs = inputs_of(learner, [*TEXTS, TEXTS[0]], world.rows(6))
    updates = [learner.update(inputs, rate=1e-3, num_updates=0, seed=0)]
    gradients = {name: parameter.grad.clone() for name, parameter in learner.parameters.items()}
    updates += [learner.update(inputs, rate=1e-3, num_updates=n, seed=n) for n in (1, 2)]
    if world.leads:
        said = {"losses": [each.loss for each in updates], "norms": [each.gradient_norm for each in updates]}
        torch.save({**said, "gradients": gradients}, out)
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
def test_two_processes_step_as_one_on_the_joined_batch(
    loss: str, micro: int, tmp_path: Path, tiny_base_model: Path
) -> None:
    one, two = (run_steps(tiny_base_model, loss, micro, tmp_path / f"{size}.pt", size) for size in (1, 2))
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-5)
    assert two["norms"] == pytest.approx(one["norms"], rel=1e-4)
    for name, gradient in one["gradients"].items():
        torch.testing.assert_close(two["gradients"][name], gradient, rtol=1e-4, atol=1e-5)


def test_a_job_of_two_processes(tmp_path: Path, shop: Path, tiny_base_model: Path) -> None:
    """Started by the call, stopped in between, and gone on with; it ends where one process ends."""
    changes: dict[str, Any] = {"objective": make_objective(positives="shared"), "epochs": 2, "ema_decay": 0.9}
    one = run_job(make_job(tmp_path / "one", shop, tiny_base_model, **changes))
    job = make_job(tmp_path / "two", shop, tiny_base_model, processes=2, **changes)
    with pytest.raises(Interrupted):
        run_job(job, stop=lambda step: any((job / "work").rglob("step-*.pt")))
    two = run_job(job)
    listed = [json.loads((out / "candidates.json").read_text()) for out in (one, two)]
    assert [each["name"] for each in listed[0]] == [each["name"] for each in listed[1]]
    mine, its = (column(out / "validation.csv", "val_loss") for out in (one, two))
    assert its == pytest.approx(mine, rel=1e-3)
    mine, its = (column(out / "history.csv", "train_loss") for out in (one, two))
    assert its == pytest.approx(mine, rel=1e-3)


def column(path: Path, name: str) -> list[float]:
    with path.open() as file:
        return [float(row[name]) for row in csv.DictReader(file)]


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path, shop: Path, tiny_base_model: Path) -> None:
    job = make_job(tmp_path / "job", shop, tiny_base_model, processes=2, batch_size=7)
    with pytest.raises(UserError, match="batch_size is 7, no multiple of the 2 processes"):
        run_job(job)


def test_what_one_of_several_refuses_reaches_the_caller(tmp_path: Path, shop: Path, tiny_base_model: Path) -> None:
    job = make_job(tmp_path / "job", shop, tiny_base_model, processes=2, batch_size=42)
    with pytest.raises(UserError, match="40 training products are fewer than one batch of 42"):
        run_job(job)

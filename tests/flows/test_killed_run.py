"""A run that is killed does not hurt the next one."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tasks.workspace.paths import Workspace
from tests.conftest import Space, eventually, make_space, tiny_params, trainers
from tests.flows.test_retrain import digests


@pytest.mark.slow
def test_next_run_waits_for_the_stage_of_a_killed_run_and_gives_the_same_outputs(
    retrained: Space, tiny_base_model: Path, tmp_path: Path
) -> None:
    space = make_space(tmp_path / "killed", tiny_params(tiny_base_model), tmp_path / "home")
    lock = Workspace(space.root).stage_lock
    killed = start(space)
    eventually(lambda: lock.exists() and "finetune" in lock.read_text(), seconds=300)
    (trainer,) = trainers(space)
    os.kill(int(trainer), signal.SIGSTOP)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    try:
        refused = space.run("fclip", "retrain", "--no-wait")
        assert refused.code == 1
        (line,) = refused.output.strip().splitlines()
        assert f"the stage finetune is running in {space.root} (process {trainer}, since " in line
        following = start(space)
        assert following.stdout is not None
        assert following.stdout.readline().startswith("Waiting: the stage finetune")
    finally:
        os.kill(int(trainer), signal.SIGCONT)
    rest, _ = following.communicate(timeout=600)
    assert following.returncode == 0, rest
    assert digests(space) == digests(retrained)


def start(space: Space) -> subprocess.Popen[str]:
    """Start `fclip retrain` in its own process group."""
    return subprocess.Popen(
        space.command("fclip", "retrain"),
        cwd=space.root,
        env=dict(space.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )

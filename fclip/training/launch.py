"""A job on several GPUs: starts one process per GPU as torchrun does, and collects the outcome."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import torch

from fclip.errors import UserError
from fclip.files import read_json, write_json
from fclip.training.config import FinetuneConfig
from fclip.training.stop import Interrupted, Stop

OUTCOME = "outcome.json"
SECONDS_TO_END = 30.0


def started_by_torchrun() -> bool:
    """Whether this process is one of several training processes."""
    return "RANK" in os.environ


def process_device(device: torch.device) -> torch.device:
    """Return the device of this process. With several processes, it is the GPU of the process's local rank."""
    if device.type != "cuda" or not started_by_torchrun():
        return device
    local = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(local)
    return local


def resolve_num_processes(config: FinetuneConfig, device: torch.device) -> int:
    """Return the number of training processes.

    Raises:
        UserError: there are fewer GPUs than processes, or the batch size is not a multiple of the number of processes.
    """
    num_gpus = torch.cuda.device_count() if device.type == "cuda" and device.index is None else 1
    wanted = num_gpus if config.processes == "auto" else config.processes
    if device.type == "cuda" and wanted > num_gpus:
        raise UserError(f"finetune.processes is {wanted}, but there are {num_gpus} GPUs; set it to auto")
    if config.batch_size % wanted:
        raise UserError(
            f"finetune.batch_size is {config.batch_size}, which is not a multiple of the {wanted} processes; change it "
            "or finetune.processes"
        )
    return wanted


def launch(folder: Path, num_processes: int, *, stop: Stop) -> None:
    """Run the job in `folder` in `num_processes` processes, with torchrun's environment variables, and wait for them.

    When `stop` returns true, the processes receive SIGTERM, finish their step and save a checkpoint. If one
    process fails, the others are stopped as well.

    Raises:
        UserError, Interrupted: as raised in one of the processes.
    """
    outcome = folder / "work" / OUTCOME
    outcome.unlink(missing_ok=True)
    port = _free_port()
    processes = [_start(folder, rank, num_processes, port) for rank in range(num_processes)]
    interrupted = False
    ending: float | None = None
    try:
        while any(process.poll() is None for process in processes):
            if ending is None and ((interrupted := stop(0)) or any(process.poll() for process in processes)):
                ending = time.monotonic()
                for process in processes:
                    process.terminate()
            if ending is not None and time.monotonic() - ending > SECONDS_TO_END and not interrupted:
                break  # they are blocked in a collective operation with the failed process
            time.sleep(0.1)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    if outcome.is_file():
        reported = read_json(outcome)
        raise {"refused": UserError, "interrupted": Interrupted}[reported["outcome"]](reported["message"])
    codes = {process.returncode for process in processes} - {0}
    if codes and interrupted:
        raise Interrupted("training was interrupted; run the command again to resume from the last checkpoint")
    if codes:
        raise UserError(f"a training process exited with code {codes.pop()}; see its output above")


def _start(folder: Path, rank: int, num_processes: int, port: int) -> subprocess.Popen[bytes]:
    variables = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": num_processes,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", max(1, (os.cpu_count() or 1) // num_processes)),
    }
    environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    return subprocess.Popen([sys.executable, "-m", "fclip.training", str(folder)], env=environment)


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def write_outcome(folder: Path, outcome: str, message: str) -> None:
    """Record for `launch` why this process exits: `outcome` is "refused" or "interrupted"."""
    write_json(folder / "work" / OUTCOME, {"outcome": outcome, "message": message})

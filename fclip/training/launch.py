"""A job on several GPUs: a process for each, started as torchrun starts them, and what they say of the end."""

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
    """Whether this process is one of several."""
    return "RANK" in os.environ


def own_device(device: torch.device) -> torch.device:
    """The device of this process: of several, each has the GPU of its local rank."""
    if device.type != "cuda" or not started_by_torchrun():
        return device
    own = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(own)
    return own


def processes_wanted(config: FinetuneConfig, device: torch.device) -> int:
    """How many processes are to train together.

    Raises:
        UserError: more than there are GPUs, or a number that a batch cannot be shared by.
    """
    num_gpus = torch.cuda.device_count() if device.type == "cuda" and device.index is None else 1
    wanted = num_gpus if config.processes == "auto" else config.processes
    if device.type == "cuda" and wanted > num_gpus:
        raise UserError(f"finetune.processes is {wanted}, but there are {num_gpus} GPUs for them")
    if config.batch_size % wanted:
        raise UserError(f"finetune.batch_size is {config.batch_size}, no multiple of the {wanted} processes")
    return wanted


def launch(folder: Path, num_processes: int, *, stop: Stop) -> None:
    """Run the job in `folder` in so many processes, each told who it is as torchrun tells it, and wait for them.

    Told to stop, they are told in their turn, finish their step and save. Where one fails, the others are stopped.

    Raises:
        UserError, Interrupted: as one of them did.
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
                break  # they wait for one that is gone
            time.sleep(0.1)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    if outcome.is_file():
        said = read_json(outcome)
        raise {"refused": UserError, "interrupted": Interrupted}[said["outcome"]](said["message"])
    codes = {process.returncode for process in processes} - {0}
    if codes and interrupted:
        raise Interrupted("told to stop; run it again to go on from the last checkpoint")
    if codes:
        raise UserError(f"a training process ended with code {codes.pop()}: what it said is above")


def _start(folder: Path, rank: int, num_processes: int, port: int) -> subprocess.Popen[bytes]:
    who = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": num_processes,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", max(1, (os.cpu_count() or 1) // num_processes)),
    }
    environment = {**os.environ, **{name: str(value) for name, value in who.items()}}
    return subprocess.Popen([sys.executable, "-m", "fclip.training", str(folder)], env=environment)


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def tell(folder: Path, outcome: str, message: str) -> None:
    """Leave word for `launch` of why this process ends."""
    write_json(folder / "work" / OUTCOME, {"outcome": outcome, "message": message})

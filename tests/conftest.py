"""Workspaces small enough to run whole: the repository's own code and dvc.yaml, few products, a tiny base model."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml
from filelock import FileLock

if "PYTEST_XDIST_WORKER" in os.environ:  # a thread a worker: more of them wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# The same examples on every run, so that a change is judged by itself; `make test-properties` seeks new ones.
# No deadline: other tests run beside, so a second says nothing.
hypothesis.settings.register_profile("fclip", deadline=None, derandomize=True)
hypothesis.settings.register_profile("search", deadline=None, max_examples=2000, print_blob=True)
hypothesis.settings.load_profile("fclip")

REPOSITORY = Path(__file__).resolve().parent.parent
CODE = ("fclip", "tasks", "flows", "params", "dvc.yaml", "prefect.yaml", ".dvcignore", ".gitignore")
DATASETS = Path(os.environ.get("FCLIP_DATASETS", REPOSITORY.parent / "shared" / "datasets"))

TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


def dataset(name: str) -> Path:
    """A folder of real data, or skip."""
    folder = DATASETS / name
    if not folder.is_dir():
        pytest.skip(f"real data is absent: {folder} (set FCLIP_DATASETS)")
    return folder


def real_dataset(name: str) -> dict[str, Any]:
    """The dataset's part of `ingest` in params/kagl.yaml, its source where the real data lies; or skip."""
    folder = dataset(name)
    values = dict(yaml.safe_load((REPOSITORY / "params" / "kagl.yaml").read_text())["ingest"]["datasets"][name])
    return {**values, "source": {**values["source"], "path": str(folder)}}


def make_tiny_base_model(folder: Path) -> Path:
    """Save a randomly initialised CLIP of two thin layers in open_clip's local-directory form."""
    import torch
    from open_clip import CLIP
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = CLIP(
        embed_dim=TINY["embed_dim"],
        vision_cfg=CLIPVisionCfg(**TINY["vision_cfg"]),
        text_cfg=CLIPTextCfg(**TINY["text_cfg"]),
    )
    folder.mkdir(parents=True)
    preprocess = {
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY, "preprocess_cfg": preprocess}))
    save_file(
        {key: value.contiguous() for key, value in model.state_dict().items()}, folder / "open_clip_model.safetensors"
    )
    return folder


@dataclass(frozen=True)
class Finished:
    """A command that ended: its code and what it printed, both streams."""

    code: int
    output: str


@dataclass(frozen=True)
class Space:
    """A workspace to run commands in, with its own registry, Prefect home and no configuration of the user's."""

    root: Path
    environment: Mapping[str, str]

    def run(self, *command: str, timeout: float = 300, **environment: str) -> Finished:
        """Run a command in the workspace's root; `fclip` stands for `python -m flows.cli`."""
        result = subprocess.run(
            self.command(*command),
            cwd=self.root,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )
        return Finished(result.returncode, result.stdout)

    def command(self, *command: str) -> list[str]:
        programs = {"fclip": [sys.executable, "-m", "flows.cli"], "dvc": [sys.executable, "-m", "dvc"]}
        return [*programs.get(command[0], [command[0]]), *command[1:]]

    def json(self, path: str) -> Any:
        return json.loads((self.root / path).read_text())

    @property
    def params(self) -> dict[str, Any]:
        return dict(yaml.safe_load((self.root / "params.yaml").read_text()))

    def set_params(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change params.yaml in place."""
        params = self.params
        change(params)
        (self.root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))

    def copy(self, root: Path) -> "Space":
        """The same workspace, outputs and DVC cache and registry included, for a test that changes it."""
        shutil.copytree(self.root, root, symlinks=True)
        home = root.parent / f"{root.name}-home"
        shutil.copytree(Path(self.environment["FCLIP_HOME"]), home)
        return self.at(root, FCLIP_HOME=str(home))

    def at(self, root: Path, **environment: str) -> "Space":
        """Another workspace with this one's environment, as a shell in `root` has it."""
        return Space(root, {**self.environment, "PWD": str(root), "PYTHONPATH": str(root), **environment})


def trainers(space: Space) -> list[str]:
    """Process ids of the fine-tunings that run in a workspace."""
    found = subprocess.run(["pgrep", "-f", "tasks.finetune"], capture_output=True, text=True).stdout.split()
    return [pid for pid in found if os.path.realpath(f"/proc/{pid}/cwd") == str(space.root.resolve())]


def make_space(root: Path, params: dict[str, Any], home: Path) -> Space:
    """A git repository at `root` with the code as it is now, `params` and empty pins."""
    root.mkdir(parents=True)
    for name in CODE:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, root / name)
    (root / ".dvc").mkdir()
    shutil.copyfile(REPOSITORY / ".dvc" / "config", root / ".dvc" / "config")
    shutil.copyfile(REPOSITORY / ".dvc" / ".gitignore", root / ".dvc" / ".gitignore")
    shutil.copytree(REPOSITORY / ".dvc" / "plots", root / ".dvc" / "plots")
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    (root / "pins" / "sources").mkdir(parents=True)
    pins = ["base_model", "champion", *(f"sources/{name}" for name in params["ingest"]["datasets"])]
    for pin in pins:
        (root / "pins" / f"{pin}.json").write_text("{}\n")
    home.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "FCLIP_HOME": str(home / "fclip"),
        "PREFECT_HOME": str(home / "prefect"),
        "PWD": str(root),
        "PYTHONPATH": str(root),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "GIT_AUTHOR_NAME": "test",
        "GIT_AUTHOR_EMAIL": "test@example.org",
        "GIT_COMMITTER_NAME": "test",
        "GIT_COMMITTER_EMAIL": "test@example.org",
        "NO_COLOR": "1",
        "COLUMNS": "160",
    }
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "FCLIP_DEBUG"):
        environment.pop(name, None)
    space = Space(root, environment)
    (home / "fclip").mkdir(exist_ok=True)
    for command in (["init", "--quiet"], ["add", "-A"], ["commit", "--quiet", "-m", "A workspace"]):
        assert space.run("git", *command).code == 0
    return space


def tiny_params(base_model: Path) -> dict[str, Any]:
    """The default params cut down: 120 studio products, 60 street ones, a tiny ViT, two candidates."""
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    datasets = params["ingest"]["datasets"]
    datasets["studio"]["source"]["num_products"] = 160
    datasets["street"]["source"]["num_products"] = 60
    params["ingest"]["settings"] = {"image": {"stored_side": 48}}
    params["finetune"] |= {
        "base_model": {"kind": "local", "path": str(base_model)},
        "trainable": "all",
        "epochs": 4,
        "batch_size": 16,
        "learning_rate": 1.0e-3,
        "num_candidates": 2,
        "checkpoint_every": 4,
    }
    params["evaluate"]["settings"] = {"resamples": 100}
    # What a tiny random start learns of 160 products is chance, and differs between processors: the last candidate
    # wins, whatever it scores, so that there is one to register.
    params["average"] = {"methods": [{"kind": "soup"}, {"kind": "interpolation", "shares": [0.5]}]}
    params["select"] |= {"rule": "last", "in_domain_tolerance": 1.0, "tie_confidence": None}
    return dict(params)


@pytest.fixture(scope="session")
def tiny_base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_base_model(tmp_path_factory.mktemp("base-model") / "tiny")


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API address of a Prefect server that runs while the tests do."""
    folder = tmp_path_factory.mktemp("prefect")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "PREFECT_HOME": str(folder), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    log = folder / "server.log"
    with running(
        [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)], folder, environment, log
    ) as server:
        url = f"http://127.0.0.1:{port}/api"
        eventually(lambda: server.poll() is not None or _answers(f"{url}/health"), seconds=240)
        assert server.poll() is None, log.read_text()
        yield url


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory, tiny_base_model: Path) -> tuple[Space, Finished]:
    """A workspace after its first `fclip retrain`, without a Prefect server, and what that printed.

    It runs once for all of pytest's workers: the first that comes here runs it, and each has a copy.
    """
    own = tmp_path_factory.mktemp("retrained")
    together = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        together = together.parent
    with FileLock(together / "first-run.lock"):
        said = together / "first-run.json"
        if not said.exists():
            space = make_space(own / "original", tiny_params(tiny_base_model), own / "original-home")
            finished = space.run("fclip", "retrain", timeout=600)
            assert finished.code == 0, finished.output
            said.write_text(json.dumps([str(space.root), dict(space.environment), finished.output]))
    root, environment, output = json.loads(said.read_text())
    copied = Space(Path(root), environment).copy(own / "space")
    return copied.at(copied.root, PREFECT_HOME=str(own / "prefect")), Finished(0, output)


@pytest.fixture(scope="session")
def retrained(first_run: tuple[Space, Finished], prefect_server: str) -> Space:
    """That workspace, its later commands reporting to a server. Copy it before changing it."""
    space = first_run[0]
    return space.at(space.root, PREFECT_API_URL=prefect_server)


@contextmanager
def running(
    command: list[str], folder: Path, environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A process of its own group, started in `folder`, while the block runs."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=dict(environment), stdout=output, stderr=output, start_new_session=True
        )
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def eventually(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for `condition`, or fail."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.5)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False

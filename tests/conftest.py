"""Workspaces for whole runs in tests: the code and dvc.yaml of the repository, few products, and a tiny base model."""

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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml
from filelock import FileLock
from typer.testing import CliRunner

from fclip.errors import UserError
from fclip.registry.store import versions
from fclip.registry.versions import Version

if "PYTEST_XDIST_WORKER" in os.environ:  # one thread per worker; more threads slow each other down
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("COLUMNS", "160")  # the width of tables that commands print in this process
# The same examples on every run, so that results depend on the code only; `make test-properties` searches for new ones.
# No deadline, since other tests run at the same time.
hypothesis.settings.register_profile("fclip", deadline=None, derandomize=True)
hypothesis.settings.register_profile("search", deadline=None, max_examples=2000, print_blob=True)
hypothesis.settings.load_profile("fclip")

REPOSITORY = Path(__file__).resolve().parent.parent
CODE = ("fclip", "tasks", "flows", "params", "dvc.yaml", "prefect.yaml", ".dvcignore", ".gitignore")
DATASETS = Path(os.environ.get("FCLIP_DATASETS", REPOSITORY.parent / "shared" / "datasets"))
FOREIGN_SETTINGS = {"MLFLOW_TRACKING_URI", "PREFECT_API_URL", "FCLIP_DEBUG"}

TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


def dataset(name: str) -> Path:
    """Return a folder with real data, or skip the test."""
    folder = DATASETS / name
    if not folder.is_dir():
        pytest.skip(f"real data is missing: {folder} (set FCLIP_DATASETS)")
    return folder


def real_dataset(name: str) -> dict[str, Any]:
    """Return the entry of the dataset in params/kagl.yaml with the path of the real data, or skip the test."""
    folder = dataset(name)
    values = dict(yaml.safe_load((REPOSITORY / "params" / "kagl.yaml").read_text())["ingest"]["datasets"][name])
    return {**values, "source": {**values["source"], "path": str(folder)}}


def make_tiny_base_model(folder: Path) -> Path:
    """Save a randomly initialised CLIP model with two thin layers as an open_clip model folder."""
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
    """A finished command. `output`: stdout and stderr together."""

    code: int
    output: str


@dataclass(frozen=True)
class Space:
    """A workspace to run commands in, with its own registry and Prefect home and none of the user's settings."""

    root: Path
    environment: Mapping[str, str]

    def run(self, *command: str, timeout: float = 300, **environment: str) -> Finished:
        """Run a command in the root of the workspace. `fclip` runs `python -m flows.cli`."""
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

    def call(self, *arguments: str) -> Finished:
        """Run `fclip` in this process, which saves the imports of a new one, with the code of the repository.

        For commands that start no flow: a flow refuses the code of another folder.
        """
        from flows.cli.__main__ import app

        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.root)
            for name, value in self.environment.items():
                patch.setenv(name, value)
            for name in FOREIGN_SETTINGS - self.environment.keys():
                patch.delenv(name, raising=False)
            result = CliRunner().invoke(app, list(arguments))
        if isinstance(result.exception, UserError):
            return Finished(1, f"{result.output}error: {result.exception}")
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Finished(result.exit_code, result.output)

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

    @property
    def versions(self) -> list[Version]:
        """The registered versions, newest first."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FCLIP_HOME", self.environment["FCLIP_HOME"])
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
            return versions(self.params["base"]["registered_model"])

    def copy(self, root: Path) -> "Space":
        """Copy the workspace with its outputs, DVC cache and registry, for a test that changes it."""
        shutil.copytree(self.root, root, symlinks=True)
        home = root.parent / f"{root.name}-home"
        shutil.copytree(Path(self.environment["FCLIP_HOME"]), home)
        return self.at(root, FCLIP_HOME=str(home))

    def at(self, root: Path, **environment: str) -> "Space":
        """Another workspace with the same environment, as in a shell in `root`."""
        return Space(root, {**self.environment, "PWD": str(root), "PYTHONPATH": str(root), **environment})


def trainers(space: Space) -> list[str]:
    """Return the process ids of running fine-tunings in a workspace."""
    found = subprocess.run(["pgrep", "-f", "tasks.finetune"], capture_output=True, text=True).stdout.split()
    return [pid for pid in found if os.path.realpath(f"/proc/{pid}/cwd") == str(space.root.resolve())]


def make_space(root: Path, params: dict[str, Any], home: Path) -> Space:
    """Create a git repository at `root` with the current code, `params` and empty pins."""
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
    for name in FOREIGN_SETTINGS:
        environment.pop(name, None)
    space = Space(root, environment)
    (home / "fclip").mkdir(exist_ok=True)
    for command in (["init", "--quiet"], ["add", "-A"], ["commit", "--quiet", "-m", "A workspace"]):
        assert space.run("git", *command).code == 0
    return space


def tiny_params(base_model: Path) -> dict[str, Any]:
    """The default params reduced to 160 studio products, 60 street products, a tiny ViT and two candidates."""
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    datasets = params["ingest"]["datasets"]
    datasets["studio"]["source"]["num_products"] = 160
    datasets["street"]["source"]["num_products"] = 60
    params["ingest"]["settings"] = {"image": {"stored_side": 48}}
    params["derive"]["datasets"] = {"studio-camera": {"of": "studio", "shift": {"kind": "camera"}}}
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
    # The scores of a tiny random model depend on chance and on the processor. The rule `last` always selects a trained
    # candidate, so that there is a model to register.
    params["average"] = {"methods": [{"kind": "soup"}, {"kind": "interpolation", "shares": [0.5]}]}
    params["select"] |= {"rule": "last", "in_domain_tolerance": 1.0, "tie_confidence": None}
    return dict(params)


# Tests of whole runs take longest. They start first, so that no worker is left alone with one at the end.
LONGEST = ("tests/flows/test_workspaces", "tests/flows", "tests/extensions", "tests/docs/test_commands", "tests/tasks")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        found = [number for number, start in enumerate(LONGEST) if item.nodeid.startswith(start)]
        return found[0] if found else len(LONGEST)

    items.sort(key=rank)


@pytest.fixture(scope="session")
def tiny_base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_base_model(tmp_path_factory.mktemp("base-model") / "tiny")


@pytest.fixture(scope="session")
def quick_towers() -> Iterator[None]:
    """`towers` embeds ImageNet's class names once: the same for every config, and most of the time to compose one."""
    from fclip.base_models import towers

    embed, known = towers._class_features, []

    def class_features(text: Any, tokenizer: Any) -> Any:
        if not known:
            known.append(embed(text, tokenizer))
        return known[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(towers, "_class_features", class_features)
        yield


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API address of a Prefect server that runs during the tests."""
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
    """A workspace after its first `fclip retrain` without a Prefect server, and the output of the command.

    The command runs once for all pytest workers: the first worker runs it, and each worker gets a copy.
    """
    private = tmp_path_factory.mktemp("retrained")
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with FileLock(shared / "first-run.lock"):
        record = shared / "first-run.json"
        if not record.exists():
            space = make_space(private / "original", tiny_params(tiny_base_model), private / "original-home")
            finished = space.run("fclip", "retrain", timeout=600)
            assert finished.code == 0, finished.output
            record.write_text(json.dumps([str(space.root), dict(space.environment), finished.output]))
    root, environment, output = json.loads(record.read_text())
    copied = Space(Path(root), environment).copy(private / "space")
    return copied.at(copied.root, PREFECT_HOME=str(private / "prefect")), Finished(0, output)


@pytest.fixture(scope="session")
def trained(first_run: tuple[Space, Finished]) -> Space:
    """The workspace of `first_run`, for tests that start no flow. Copy it before changing it."""
    return first_run[0]


@pytest.fixture(scope="session")
def retrained(trained: Space, prefect_server: str) -> Space:
    """The workspace of `first_run`; its flows use the Prefect server. Copy it before changing it."""
    return trained.at(trained.root, PREFECT_API_URL=prefect_server)


@contextmanager
def running(
    command: list[str], folder: Path, environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process in its own process group in `folder` while the block runs."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=dict(environment), stdout=output, stderr=output, start_new_session=True
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):  # the block has waited for its end
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def eventually(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until `condition` is true, or fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"the condition is still false after {seconds} s"
        time.sleep(0.5)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False

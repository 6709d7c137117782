"""A separate registry for each test, and tiny models."""

import shutil
from collections.abc import Callable
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip import CLIP
from open_clip.model import CLIPTextCfg, CLIPVisionCfg

from fclip.models.folder import write_config
from fclip.models.preprocess import Preprocess
from fclip.models.store import write_weights
from fclip.registry.backend import connect

CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new SQLite store, created once because the migrations take seconds."""
    home = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FCLIP_HOME", str(home))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        connect()
    return home / "mlflow.db"


@pytest.fixture
def own_registry(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an embedded registry for this test."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(empty_store, home / "mlflow.db")
    monkeypatch.setenv("FCLIP_HOME", str(home))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return home


@pytest.fixture(autouse=True)
def registry_home(tmp_path: Path, own_registry: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The embedded registry of this test; the current folder is an empty one, `tmp_path / "cwd"`."""
    current = tmp_path / "cwd"
    current.mkdir()
    monkeypatch.chdir(current)
    return own_registry


@pytest.fixture
def make_clip(tmp_path: Path) -> Callable[[int], Path]:
    """make_clip(seed) -> the folder of a tiny CLIP with random weights of this seed."""

    def make(seed: int) -> Path:
        folder = tmp_path / f"clip-{seed}"
        return folder if folder.exists() else write_clip(folder, seed)

    return make


def write_clip(folder: Path, seed: int) -> Path:
    """Write a tiny CLIP with random weights to the new folder `folder`, and return it."""
    folder.mkdir()
    torch.manual_seed(seed)
    model = CLIP(
        embed_dim=CONFIG["embed_dim"],
        vision_cfg=CLIPVisionCfg(**CONFIG["vision_cfg"]),
        text_cfg=CLIPTextCfg(**CONFIG["text_cfg"]),
    )
    write_weights(model, folder)
    mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    write_config(CONFIG, Preprocess(size=32, mean=mean, std=std), folder)
    return folder


@pytest.fixture
def make_weights(tmp_path: Path) -> Callable[[str], Path]:
    """make_weights(name) -> a folder with fake weights, for tests that do not load the model."""

    def make(name: str) -> Path:
        folder = tmp_path / f"weights-{name}"
        folder.mkdir(exist_ok=True)
        (folder / "open_clip_model.safetensors").write_bytes(name.encode())
        (folder / "open_clip_config.json").write_text("{}")
        return folder

    return make

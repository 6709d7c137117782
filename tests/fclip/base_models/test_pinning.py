"""Base models are pinned, cached by digest, and fetched again if they are missing in the cache."""

import json
import os
import shutil
import time
from pathlib import Path

import huggingface_hub
import open_clip
import pytest
import torch

from fclip.base_models.local import LocalConfig
from fclip.base_models.open_clip import OpenClipConfig
from fclip.base_models.pinning import BaseModelPin, fetch_base_model, pin_base_model
from fclip.base_models.registry import BaseModelConfig
from fclip.base_models.transformers import TransformersConfig
from fclip.errors import UserError
from fclip.models import store
from fclip.models.digests import model_sha256
from fclip.models.folder import CONFIG, WEIGHTS
from tests.fclip.conversion.peers import peer, save_peer
from tests.tiny_shop import tiny_clip


@pytest.fixture
def local(tmp_path: Path) -> LocalConfig:
    tiny_clip(tmp_path / "mine")
    return LocalConfig(kind="local", path="mine")


def test_a_folder_is_pinned_and_cached_by_its_digest(tmp_path: Path, local: LocalConfig) -> None:
    pin = pin_base_model(local, root=tmp_path, cache_dir=tmp_path / "cache")
    assert pin.settings == {"path": "mine"}
    kept = fetch_base_model(pin, local, root=tmp_path, cache_dir=tmp_path / "cache")
    assert kept == tmp_path / "cache" / pin.model_sha256
    assert BaseModelPin.from_json(pin.to_json()) == pin
    pixels, tokens = torch.rand(2, 3, 32, 32), open_clip.tokenize(["a red coat"], context_length=16)
    one, other = store.load(tmp_path / "mine").model, store.load(kept).model
    with torch.inference_mode():
        assert torch.equal(one.encode_image(pixels), other.encode_image(pixels))
        assert torch.equal(one.encode_text(tokens), other.encode_text(tokens))
    assert [path for path in (tmp_path / "cache").iterdir() if path.name.startswith(".")] == []


def test_a_missing_or_damaged_cache_entry_is_restored(tmp_path: Path, local: LocalConfig) -> None:
    cache = tmp_path / "cache"
    pin = pin_base_model(local, root=tmp_path, cache_dir=cache)
    (cache / pin.model_sha256 / WEIGHTS).write_bytes(b"half")
    kept = fetch_base_model(pin, local, root=tmp_path, cache_dir=cache)
    assert model_sha256(kept) == pin.model_sha256
    shutil.rmtree(cache)
    assert fetch_base_model(pin, local, root=tmp_path, cache_dir=cache) == kept


@pytest.mark.parametrize("change", ["nothing", "file", "cache", "libraries"])
def test_a_model_is_written_again_only_if_something_changed(
    tmp_path: Path, local: LocalConfig, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    now = time.time()
    monkeypatch.setattr("fclip.files.time.time", lambda: now + 3600)  # the files of the model are settled
    before = pin_base_model(local, root=tmp_path, cache_dir=tmp_path / "cache")
    weights = tmp_path / "mine" / store.WEIGHTS
    match change:
        case "file":  # other bytes, the same size and modification time
            status, content = weights.stat(), bytearray(weights.read_bytes())
            content[-1] ^= 1
            weights.write_bytes(content)
            os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
        case "cache":
            shutil.rmtree(tmp_path / "cache" / before.model_sha256)
        case "libraries":
            monkeypatch.setattr("fclip.base_models.pinning.version", lambda name: "0")
    written: list[Path] = []
    monkeypatch.setattr("fclip.base_models.pinning._keep", lambda folder, target: written.append(target))
    after = pin_base_model(local, root=tmp_path, cache_dir=tmp_path / "cache")
    assert (after != before) == (change == "file")
    assert bool(written) == (change != "nothing")


def test_a_changed_or_unpinned_base_model_is_refused(tmp_path: Path, local: LocalConfig) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(UserError, match="base model is not pinned"):
        fetch_base_model(None, local, root=tmp_path, cache_dir=cache)
    pin = pin_base_model(local, root=tmp_path, cache_dir=cache)
    shutil.rmtree(cache)
    shutil.rmtree(tmp_path / "mine")
    tiny_clip(tmp_path / "mine", seed=1)
    with pytest.raises(UserError, match="has changed since it was pinned"):
        fetch_base_model(pin, local, root=tmp_path, cache_dir=cache)
    with pytest.raises(UserError, match=r"pins/base_model\.json is for another base model"):
        fetch_base_model(pin, LocalConfig(kind="local", path="other"), root=tmp_path, cache_dir=cache)


def test_a_folder_in_transformers_format_is_pinned_by_its_files(tmp_path: Path) -> None:
    base_model = TransformersConfig(kind="transformers", model="theirs")
    save_peer(tmp_path / "theirs")
    pin = pin_base_model(base_model, root=tmp_path, cache_dir=tmp_path / "cache")
    assert set(pin.origin.sources) == {"config.json", "model.safetensors"}
    assert pin.origin.revision is None
    kept = fetch_base_model(pin, base_model, root=tmp_path, cache_dir=tmp_path / "cache")
    assert model_sha256(kept) == pin.model_sha256
    shutil.rmtree(tmp_path / "cache")
    assert fetch_base_model(pin, base_model, root=tmp_path, cache_dir=tmp_path / "cache") == kept
    shutil.rmtree(tmp_path / "cache")
    save_peer(tmp_path / "theirs", peer(seed=1))
    with pytest.raises(UserError, match="has changed since it was pinned"):
        fetch_base_model(pin, base_model, root=tmp_path, cache_dir=tmp_path / "cache")


@pytest.mark.parametrize(
    ("base_model", "message"),
    [
        (LocalConfig(kind="local", path="nowhere"), "nowhere: no such folder"),
        (TransformersConfig(kind="transformers", model="nowhere"), "the base model nowhere is neither a folder"),
        (TransformersConfig(kind="transformers", model="."), "cannot be read as a CLIPModel of transformers"),
        (OpenClipConfig(kind="open_clip", model="ViT-B-999", pretrained="openai"), "open_clip has no model"),
        (OpenClipConfig(kind="open_clip", model="ViT-B-32", pretrained="mine"), "use one of openai"),
        (OpenClipConfig(kind="open_clip", model="hf-hub:nobody/nothing"), "check the network connection and the name"),
    ],
)
def test_an_unknown_base_model_is_a_user_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base_model: BaseModelConfig, message: str
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=message):
        pin_base_model(base_model, root=tmp_path, cache_dir=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / WEIGHTS).unlink(), "no weights found"),
        (lambda folder: (folder / CONFIG).unlink(), f"has no {CONFIG}"),
        (lambda folder: (folder / CONFIG).write_text("{"), "not valid JSON"),
        (lambda folder: (folder / CONFIG).write_text("{}"), "not a model config"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b"half"), "cannot be loaded"),
        (
            lambda folder: (folder / CONFIG).write_text(
                (folder / CONFIG).read_text().replace('"embed_dim": 16', '"embed_dim": 17')
            ),
            "cannot be loaded",
        ),
    ],
)
def test_a_damaged_folder_is_a_user_error(tmp_path: Path, damage, message: str) -> None:
    folder = tiny_clip(tmp_path / "mine")
    assert json.loads((folder / CONFIG).read_text())["model_cfg"]["embed_dim"] == 16
    damage(folder)
    with pytest.raises(UserError, match=message):
        store.load(folder)

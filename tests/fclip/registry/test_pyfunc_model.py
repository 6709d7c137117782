"""A registered version loads without the repository and without torch, refuses hostile input, and is verified."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest
from PIL import Image

from fclip.export.package import write_package
from fclip.export.parity import ParityInputs
from fclip.features.encode import encode_images, encode_texts
from fclip.features.similarity import unit
from fclip.images.pixels import decode
from fclip.models.store import load
from fclip.registry.backend import connect, tracking_uri
from fclip.registry.log import Receipt, RunRecord, register_version
from fclip.registry.store import download_model, download_package
from fclip.registry.verify import ReferenceEmbeddings, find_difference
from fclip.registry.versions import VersionPin
from tests.fclip.registry.conftest import write_clip

REPOSITORY = str(Path(__file__).parents[3])
EMPTY = RunRecord(params={}, points=(), headline={}, tags={})
BLOCKED = "torch", "open_clip", "transformers", "timm", "torchvision", "prefect", "dvc", "pyarrow"
LOADED = """
import sys
sys.path = [entry for entry in sys.path if entry not in ("", {repository!r})]
sys.modules.update(dict.fromkeys({blocked!r}))
import base64, mlflow, numpy as np, pandas as pd
model = mlflow.pyfunc.load_model("models:/clip@challenger")
import fclip
assert not fclip.__path__[0].startswith({repository!r}), fclip.__path__
image = open({image!r}, "rb").read()
address = "data:image/png;base64," + base64.b64encode(image).decode()
rows = pd.DataFrame(
    {{"image": [image, None, None], "text": [None, "a red dress", None], "image_url": [None, None, address]}}
)
mixed = model.predict(rows)
texts = model.predict([{{"text": "a red dress"}}, {{"text": "boots"}}])
classes = model.predict([{{"image": image}}], params={{"classes": ["shoe", "dress"], "templates": ["a {{}}"]}})
allowed = mlflow.pyfunc.load_model("models:/clip@challenger", model_config={{"allow_paths": True}})
from_path = allowed.predict([{{"image_url": {image!r}}}])
np.savez({out!r}, mixed=mixed, texts=texts, classes=classes, from_path=from_path)
"""


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "red.png"
    Image.new("RGB", (50, 40), (200, 20, 20)).save(path)
    return path


@pytest.fixture(scope="module")
def inputs(photo: Path) -> ParityInputs:
    return ParityInputs([photo.read_bytes()], ["a red dress", "boots"], ["shoe", "dress"])


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory, inputs: ParityInputs) -> Path:
    """The package of the tiny CLIP, exported once."""
    folder = tmp_path_factory.mktemp("package")
    write_package(write_clip(folder / "clip", 0), folder / "package", card="# Card", inputs=inputs)
    return folder / "package"


@pytest.fixture
def receipt(make_clip, package: Path) -> Receipt:
    """Version 1 of `clip`, a tiny CLIP."""
    return register_version(
        "clip", make_clip(0), EMPTY, run_name="test", package=lambda out: shutil.copytree(package, out)
    )


def test_version_loads_in_a_clean_process_without_the_repository_and_torch(
    receipt: Receipt, photo: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.npz"
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "FCLIP_HOME")}
    environment["MLFLOW_TRACKING_URI"] = tracking_uri()
    code = LOADED.format(repository=REPOSITORY, image=str(photo), out=str(out), blocked=BLOCKED)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "cwd", env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = np.load(out)
    mixed, texts = found["mixed"], found["texts"]
    assert mixed.shape == (3, 16)
    assert mixed.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(np.concatenate([mixed, texts]), axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(mixed[0], mixed[2], atol=1e-6)
    np.testing.assert_allclose(mixed[0], found["from_path"][0], atol=1e-6)
    np.testing.assert_allclose(mixed[1], texts[0], atol=1e-5)
    assert found["classes"].shape == (1, 2)
    np.testing.assert_allclose(found["classes"].sum(), 1, atol=1e-6)
    assert "Warning" not in done.stderr
    assert list((tmp_path / "cwd").iterdir()) == []


def test_the_version_has_a_signature_an_example_a_card_and_its_digest(
    receipt: Receipt, make_clip, tmp_path: Path
) -> None:
    info = mlflow.models.get_model_info("models:/clip/1")
    assert [(column.name, column.type.name, column.required) for column in info.signature.inputs] == [
        ("image", "binary", False),
        ("image_url", "string", False),
        ("text", "string", False),
    ]
    assert {param.name: param.default for param in info.signature.params} == {"classes": [], "templates": []}
    assert info.saved_input_example_info is not None
    pin = VersionPin("clip", receipt.version, receipt.model_sha256)
    package = download_package(pin, tmp_path / "package")
    assert (package / "README.md").read_text() == "# Card"
    model = download_model(pin, tmp_path / "model")
    assert {path.name for path in model.iterdir()} == {path.name for path in make_clip(0).iterdir()}


@pytest.mark.parametrize(
    ("rows", "params", "message"),
    [
        ([{"image": b"no image"}], {}, "row 0: not an image"),
        ([{"text": "a", "image_url": "data:,"}], {}, "row 0 must have exactly one"),
        ([{"text": None}], {}, "row 0 must have exactly one"),
        ([{"image_url": "/etc/passwd"}], {}, "row 0: image_url must be a data address"),
        ([{"image_url": "http://127.0.0.1/a.jpg"}], {}, "row 0: remote addresses are not fetched"),
        ([{"image_url": "file:///etc/passwd"}], {}, "row 0: remote addresses are not fetched"),
        ([{"image_url": "data:image/png;base64,%%%"}], {}, "row 0: the base64"),
        ([{"text": "x" * 1_000_000}], {}, "text 0 has 1000000 characters"),
        ([{"text": "a"}], {"classes": ["a", "b"]}, "row 0 has a text; only images"),
        ([{"image": "PHOTO"}], {"classes": ["a"]}, "at least two classes, not 1"),
        ([{"image": "PHOTO"}], {"templates": ["a {}"]}, "at least two classes, not 0"),
        ([{"image": "PHOTO"}], {"classes": ["a", "b"], "templates": ["a"]}, "has no {}"),
        ([{"image": "BOMB"}], {}, "row 0: the image has 10000 by 10000 pixels"),
    ],
)
def test_invalid_input_is_one_clear_message(receipt: Receipt, photo: Path, rows, params, message: str) -> None:
    bomb = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(bomb, "PNG")
    stand_ins = {"PHOTO": photo.read_bytes(), "BOMB": bomb.getvalue()}
    rows = [{name: stand_ins.get(value, value) for name, value in row.items()} for row in rows]
    model = mlflow.pyfunc.load_model("models:/clip/1")
    with pytest.raises(ValueError, match=re.escape(message)):
        model.predict(rows, params=params)


def test_settings_are_checked_when_the_version_is_loaded(receipt: Receipt) -> None:
    connect()
    for config, message in (
        ({"engine": "jax"}, "unknown engine 'jax'"),
        ({"device": "cuda"}, "use engine torch"),
    ):
        with pytest.raises(ValueError, match=message):
            mlflow.pyfunc.load_model("models:/clip/1", model_config=config)


def test_the_engine_torch_gives_the_same_embeddings(receipt: Receipt, photo: Path) -> None:
    rows = [{"image": photo.read_bytes()}, {"text": "a red dress"}]
    expected = mlflow.pyfunc.load_model("models:/clip/1").predict(rows)
    found = mlflow.pyfunc.load_model("models:/clip/1", model_config={"engine": "torch"}).predict(rows)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def reference(folder: Path, inputs: ParityInputs) -> ReferenceEmbeddings:
    clip = load(folder)
    pixels = np.stack([decode(content, clip.preprocess) for content in inputs.images])
    images, texts = unit(encode_images(clip, pixels)), unit(encode_texts(clip, list(inputs.texts)))
    return ReferenceEmbeddings(tuple(inputs.images), tuple(inputs.texts), images, texts)


def test_a_stored_version_is_compared_with_the_pipeline(receipt: Receipt, make_clip, inputs: ParityInputs) -> None:
    pin = VersionPin("clip", receipt.version, receipt.model_sha256)
    assert find_difference(pin, reference(make_clip(0), inputs)) is None
    difference = find_difference(pin, reference(make_clip(1), inputs))
    assert difference is not None
    assert "image embeddings of the stored version differ" in difference


def test_a_damaged_stored_version_is_found(
    receipt: Receipt, make_clip, inputs: ParityInputs, own_registry: Path
) -> None:
    (stored,) = own_registry.rglob("open_clip/open_clip_model.safetensors")
    content = stored.read_bytes()
    stored.unlink()  # other files may be links to it
    stored.write_bytes(content[:-100])
    pin = VersionPin("clip", receipt.version, receipt.model_sha256)
    difference = find_difference(pin, reference(make_clip(0), inputs))
    assert difference is not None
    assert "cannot be loaded" in difference


def test_a_version_without_graphs_is_refused(make_clip, tmp_path: Path) -> None:
    folder = make_clip(0)
    register_version("clip", folder, EMPTY, run_name="test")
    with pytest.raises(ValueError, match="has no ONNX graphs"):
        mlflow.pyfunc.load_model("models:/clip/1")


@pytest.mark.slow
def test_mlflow_serves_the_version_over_http(receipt: Receipt, photo: Path, tmp_path: Path) -> None:
    import base64
    import socket
    import time
    import urllib.error
    import urllib.request

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["models", "serve", "-m", "models:/clip/1", "-h", "127.0.0.1", "-p", str(port), "--env-manager", "local"]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": tracking_uri()}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"  # MLflow starts uvicorn by name
    environment.pop("PYTHONPATH", None)

    def request(body: object) -> tuple[int, str]:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        call = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations", content, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(call, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    with (tmp_path / "log.txt").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *command], cwd=tmp_path, env=environment, stdout=log, stderr=log
        )
        try:
            for _ in range(240):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=1).close()
                    break
                except OSError:
                    assert server.poll() is None, (tmp_path / "log.txt").read_text()[-3000:]
                    time.sleep(0.5)
            image = base64.b64encode(photo.read_bytes()).decode()
            status, answer = request({"dataframe_records": [{"image": image}]})
            assert status == 200, answer
            address = f"data:image/png;base64,{image}"
            status, answer = request({"dataframe_records": [{"image_url": address}, {"text": "a red dress"}]})
            assert status == 200, answer
            embeddings = np.array(json.loads(answer)["predictions"])
            assert embeddings.shape == (2, 16)
            np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
            status, answer = request(
                {"dataframe_split": {"columns": ["image"], "data": [[image]]}, "params": {"classes": ["shoe", "dress"]}}
            )
            assert status == 200, answer
            assert abs(np.sum(json.loads(answer)["predictions"]) - 1) < 1e-6
            for hostile in (
                {"dataframe_records": [{"image_url": "/etc/passwd"}]},
                {"dataframe_records": [{"image_url": "http://127.0.0.1/a.png"}]},
                {"dataframe_records": [{"image": base64.b64encode(b"no image").decode()}]},
                {"dataframe_records": [{"text": "x" * 1_000_000}]},
                {"dataframe_records": [{"text": 5}]},
                {"dataframe_records": [{"text": None}]},
                {"dataframe_records": [{"image": image}], "params": {"classes": ["one"]}},
                b"{broken",
            ):
                status, answer = request(hostile)
                assert status == 400, (hostile, answer)
                assert "Traceback" not in answer
            assert request({"dataframe_records": [{"text": "still alive"}]})[0] == 200
        finally:
            server.terminate()
            server.wait(30)

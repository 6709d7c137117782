"""The commands `embed` and `classify`: every kind of input, bad rows, interruption, and an install without torch."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from fclip.embeddings import files
from fclip.embeddings.inputs import read_inputs
from fclip.errors import UserError
from fclip.runtime import Model, load
from fclip.sample.catalog import draw_products
from flows.cli.__main__ import app
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def model() -> Model:
    return load("fclip-tiny")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photographs, one of them in a subfolder, and a file that is no image."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "more").mkdir()
    for number, product in enumerate(draw_products("street", num_products=6, seed=3, side=96)):
        (folder / ("more" if number == 5 else ".") / f"{number}.jpg").write_bytes(product.images[0])
    (folder / "broken.jpg").write_bytes(b"no image")
    return folder


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_folder_is_embedded_to_parquet(photos: Path, model: Model, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    assert "Wrote 6 embeddings" in run("embed", "fclip-tiny", photos, out, "--batch-size", 2)
    table = pq.read_table(out)
    assert table["id"].to_pylist() == [*(f"{number}.jpg" for number in range(5)), "more/5.jpg"]
    expected = model.embed_images([photos / name for name in table["id"].to_pylist()])
    np.testing.assert_allclose(np.stack(table["embedding"].to_numpy()), expected, atol=1e-5)
    assert table.schema.metadata[b"fclip.model_sha256"].decode() == model.manifest.model_sha256
    with (tmp_path / "out.errors.csv").open() as file:
        (error,) = csv.DictReader(file)
    assert error["id"] == "broken.jpg"
    assert error["reason"].startswith("not an image of a known format")
    assert {path.name for path in tmp_path.iterdir()} == {"out.parquet", "out.errors.csv"}


def test_texts_are_embedded_to_npy(model: Model, tmp_path: Path) -> None:
    (tmp_path / "queries.txt").write_text("a red dress\nblue jeans\n")
    run("embed", "fclip-tiny", tmp_path / "queries.txt", tmp_path / "q.npy")
    expected = model.embed_texts(["a red dress", "blue jeans"])
    np.testing.assert_allclose(np.load(tmp_path / "q.npy"), expected, atol=1e-6)
    assert (tmp_path / "q.txt").read_text().splitlines() == ["1", "2"]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_tables_name_images_relative_to_themselves(photos: Path, form: str, tmp_path: Path) -> None:
    rows = [{"sku": "a", "image": "0.jpg"}, {"sku": "b", "image": ""}, {"sku": "c", "image": "missing.jpg"}]
    table = photos / f"table.{form}"
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), table)
    elif form == "jsonl":
        table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        table.write_text("sku,image\na,0.jpg\nb,\nc,missing.jpg\n")
    run("embed", "fclip-tiny", table, tmp_path / "o.parquet")
    table.unlink()
    assert pq.read_table(tmp_path / "o.parquet")["id"].to_pylist() == ["a"]
    with (tmp_path / "o.errors.csv").open() as file:
        reasons = {row["id"]: row["reason"] for row in csv.DictReader(file)}
    assert reasons.keys() == {"b", "c"}
    assert reasons["b"] == "no image"
    assert "cannot be read" in reasons["c"]


def test_an_interrupted_command_continues(
    photos: Path, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, out = read_inputs(photos), tmp_path / "o.npy"
    whole = files.embed_to_file(model, rows, tmp_path / "whole.npy", batch_size=2)
    monkeypatch.setattr(files, "ROWS_PER_PART", 2)
    real, calls = files.embed_batch, []

    def stop_after_two(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(files, "embed_batch", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        files.embed_to_file(model, rows, out, batch_size=2)
    assert not out.exists()
    monkeypatch.setattr(files, "embed_batch", real)
    done = files.embed_to_file(model, rows, out, batch_size=2)
    assert (done.num_rows, done.num_reused) == (whole.num_rows, 4)
    np.testing.assert_array_equal(np.load(out), np.load(tmp_path / "whole.npy"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "colour,size\nred,4\n", "name one with --column: colour, size"),
        ("a.csv", "image\n", "has no rows|no column"),
        ("a.csv", "image\na,b,c\n", "more cells than columns"),
        ("a.parquet", "PAR1", "cannot be read"),
        ("a.jsonl", "{]\n", "cannot be read"),
        ("a.jsonl", "[1]\n", "not a JSON object"),
        ("a.txt", "", "is empty"),
        ("a.xlsx", "x", r"neither a folder nor a \.csv"),
    ],
)
def test_invalid_inputs_are_one_clear_error(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        read_inputs(tmp_path / name)


def test_missing_inputs_and_outputs_are_named(model: Model, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_inputs(tmp_path / "nothing")
    with pytest.raises(UserError, match="contains no images"):
        read_inputs(tmp_path)
    with pytest.raises(UserError, match=r"must end in \.parquet or \.npy"):
        files.embed_to_file(model, read_inputs(photos), tmp_path / "out.json", batch_size=2)
    (tmp_path / "b.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match=r"none of the 1 rows can be embedded; the first is b\.jpg"):
        files.embed_to_file(model, read_inputs(tmp_path), tmp_path / "out.npy", batch_size=2)


def test_images_are_classified(photos: Path, model: Model, tmp_path: Path) -> None:
    classes = ["dress", "shoe", "bag"]
    options = [option for name in classes for option in ("--class", name)]
    assert "more/5.jpg" in run("classify", "fclip-tiny", photos, *options)
    run("classify", "fclip-tiny", photos, *options, "--out", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open() as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert rows["broken.jpg"]["error"]
    embedded = model.embed_images([photos / "0.jpg"])
    (expected,) = model.class_probabilities(embedded, model.embed_classes(classes)).tolist()
    found = [float(rows["0.jpg"][name]) for name in classes]
    assert found == pytest.approx(expected, abs=1e-5)
    assert rows["0.jpg"]["class"] == classes[int(np.argmax(expected))]


@pytest.mark.slow
def test_the_base_install_embeds_without_torch(photos: Path, tmp_path: Path) -> None:
    """`pip install .` in an empty virtual environment; the text tower is downloaded at first use."""
    source, environment = tmp_path / "source", tmp_path / "venv"
    ignored = shutil.ignore_patterns(".venv", ".git", "cache", "data", "results", "site", "*.egg-info", ".fclip")
    shutil.copytree(REPOSITORY, source, ignore=ignored)
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = [environment / "bin" / "python", "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--constraint", source / "constraints.txt", source], check=True, capture_output=True)
    settings = {"FCLIP_HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    def fclip(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [environment / "bin" / "fclip", *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True)

    assert not list((environment / "lib").glob("python*/site-packages/torch"))
    (tmp_path / "q.txt").write_text("a red dress\n")
    for name, given in (("images.npy", photos), ("texts.npy", tmp_path / "q.txt")):
        done = fclip("embed", "fclip-tiny", given, tmp_path / name)
        assert done.returncode == 0, done.stderr
    model = load("fclip-tiny")
    np.testing.assert_allclose(np.load(tmp_path / "texts.npy"), model.embed_texts(["a red dress"]), atol=1e-5)
    assert len(np.load(tmp_path / "images.npy")) == 6
    refused = fclip("retrain")
    assert refused.returncode == 1
    assert "pip install '.[pipeline]'" in refused.stderr

"""The model card of a trained workspace: its numbers are those of the evaluation, and its examples run."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import ModelCard

from fclip.features.similarity import unit
from fclip.files import read_json, sha256_tree
from fclip.models.folder import CARD
from fclip.registry.store import download_package, find_version
from fclip.runtime import load
from fclip.sample.catalog import draw_products
from tasks.model_card import model_card_of
from tasks.model_evaluation import model_folder
from tasks.workspace.paths import Workspace
from tests.conftest import Space
from tests.fclip.report.test_card import body, rows

DATASETS = ("studio", "street")


@pytest.fixture
def workspace(trained: Space, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("FCLIP_HOME", trained.environment["FCLIP_HOME"])
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Workspace(trained.root)


def card_of(workspace: Workspace, name: str) -> str:
    return model_card_of(workspace, name, model_folder(workspace, name))


def evaluated(workspace: Workspace, candidate: str) -> pd.DataFrame:
    table = pd.concat([pd.read_parquet(workspace.evaluation(name)) for name in (*DATASETS, "studio-camera")])
    return table[table["candidate"] == candidate]


def cell(row: pd.Series) -> str:
    return f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})"


def results(card: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the title and the cells of each row of each table of results."""
    for section in card.split("## Results", 1)[1].split("\n## ", 1)[0].split("\n### ")[1:]:
        title, text = section.split("\n", 1)
        for cells in list(rows(body(f"\n---\n{text}")))[1:]:
            yield title, cells


@pytest.mark.parametrize("name", ["champion", "selected", "base-model"])
def test_numbers_are_those_of_the_evaluation(workspace: Workspace, name: str) -> None:
    card = card_of(workspace, name)
    candidate = name if name == "base-model" else read_json(workspace.selection)["winner"]
    this, base = evaluated(workspace, candidate), evaluated(workspace, "base-model")
    found = list(results(card))
    for title, cells in found:
        dataset, split = title.split(", ")
        values = []
        for table in (base, this):
            here = table[(table["dataset"] == dataset) & (table["split"] == split)]
            values.append({cell(row) for _, row in here.iterrows()})
        assert cells[-1] in values[1]
        if name != "base-model":
            assert cells[2] in values[0]
    primary = {(f"{row['dataset']}, {row['split']}", cell(row)) for _, row in this[this["primary"]].iterrows()}
    assert {(title, cells[-1]) for title, cells in found if cells[0].endswith("(primary)")} == primary
    reported = this[this["role"] == "report"]
    for entry in ModelCard(card).data.eval_results:
        (row,) = (
            row
            for _, row in reported[reported["dataset"] == entry.dataset_name].iterrows()
            if f"{row['protocol']}.{row['metric']}" == entry.metric_name
        )
        assert entry.metric_value == round(row["value"], 6)
    assert len(ModelCard(card).data.eval_results) == sum(", test" in title for title, _ in found)


def test_counts_training_and_lineage_are_those_of_the_workspace(workspace: Workspace) -> None:
    card = card_of(workspace, "selected")
    tables = list(rows(body(card)))
    for name in DATASETS:
        products = pd.read_parquet(workspace.catalog(name) / "products.parquet")
        captions = pd.read_parquet(workspace.captions(name))
        for split, here in products.groupby("split"):
            images = {image for listed in here["images"] for image in listed}
            num_captions = captions[captions["split"] == split]["captions"].map(len).sum()
            (row,) = (row for row in tables if row[:2] == [name, split] and len(row) == 6)
            assert row[3:] == [f"{len(here):,}", f"{len(images):,}", f"{num_captions:,}"]
        assert [f"dataset {name}, digest", sha256_tree(workspace.catalog(name))] in tables
    assert ["model, digest", sha256_tree(workspace.selected)] in tables
    assert ["highest learning rate", "0.001"] in tables
    assert ["batch size", "16"] in tables
    assert ["captions, by share", "title 0.4, attributes 0.3, short 0.3"] in tables
    assert "The base model is tiny (local folder)." in card
    assert str(workspace.root.parent) not in card  # paths are private, such as that of the base model
    assert "No verdict." in card


def test_card_of_a_version_has_the_verdict_and_its_package_the_facts(workspace: Workspace, tmp_path: Path) -> None:
    card = card_of(workspace, "champion")
    version = find_version("fclip-sample", "champion")
    assert f"Version {version.version} of fclip-sample is the champion. It was promoted as the first champion" in card
    assert f"models:/fclip-sample/{version.version}" in card
    stored = (download_package(version.pin, tmp_path / "package") / CARD).read_text(encoding="utf-8")
    assert "No verdict." in stored
    assert list(results(stored)) == list(results(card))


def test_card_of_another_folder_has_its_technical_part(workspace: Workspace, tmp_path: Path) -> None:
    other = shutil.copytree(workspace.candidate("base-model"), tmp_path / "other")
    (other / "notes.txt").write_text("another digest")
    for card in (card_of(workspace, str(other)), model_card_of(None, str(other), other)):
        assert "# other\n" in card
        assert not list(results(card))


def test_examples_agree(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All five ways run in the folder of a package, and give the embeddings of the runtime."""
    version = find_version("fclip-sample", "champion")
    package = download_package(version.pin, tmp_path / "package")
    (product,) = draw_products("street", num_products=1, seed=3)
    (package / "photo.jpg").write_bytes(product.images[0])
    monkeypatch.chdir(package)
    codes = re.findall(r"```python\n(.*?)```", card_of(workspace, "champion"), flags=re.DOTALL)
    runtime, fashion_clip, open_clip, onnx, pyfunc = ({} for _ in codes)
    for code, names in zip(codes, (runtime, fashion_clip, open_clip, onnx, pyfunc), strict=True):
        exec(code, names)  # the examples of the card
    dress = load(".").embed_texts(["a red dress"])
    np.testing.assert_allclose(unit(fashion_clip["features"]), dress, atol=1e-4)
    for embeddings in (pyfunc["embeddings"], onnx["texts"][:1]):
        np.testing.assert_allclose(embeddings, dress, atol=1e-4)
    np.testing.assert_allclose(open_clip["similarity"].detach().numpy(), runtime["similarity"], atol=1e-3)
    np.testing.assert_allclose(onnx["similarity"], runtime["similarity"], atol=0.01)

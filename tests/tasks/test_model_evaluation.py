"""Evaluation of any model: models found by name, and the comparison page."""

import shutil
from pathlib import Path

import pytest

from fclip.errors import UserError
from fclip.report.comparison import write_comparison_page
from tasks.model_evaluation import (
    dataset_comparison,
    model_folder,
    model_folders,
    same_weights,
    score_models,
    write_comparisons,
)
from tasks.workspace.paths import Workspace
from tests.tiny_shop import make_shop

BASE_MODEL, LATER = "base-model", "step-000010"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_shop(tmp_path_factory.mktemp("shop"))


def test_model_folder_finds_folders_and_candidates(shop: Workspace, own_registry: Path, tmp_path: Path) -> None:
    candidate = shop.finetune / "candidates" / BASE_MODEL
    assert model_folder(shop, BASE_MODEL) == model_folder(shop, str(candidate)) == candidate
    assert same_weights(candidate, shutil.copytree(candidate, tmp_path / "copy"))
    assert not same_weights(candidate, model_folder(shop, LATER))
    with pytest.raises(
        UserError, match=r"unknown model `nothing`; use a folder, .* a candidate \(base-model, step-000010"
    ):
        model_folder(shop, "nothing")


def test_comparison_page_shows_changes(shop: Workspace, tmp_path: Path) -> None:
    evaluation = score_models(shop, model_folders(shop, BASE_MODEL, LATER), "studio")
    found = dataset_comparison(shop, evaluation, BASE_MODEL, LATER)
    primary = [change for change in found.changes if change.primary]
    assert {change.role for change in primary} == {"select", "report"}
    for change in primary:
        assert change.difference.value == pytest.approx(change.after.value - change.before.value)
        assert evaluation.compare(BASE_MODEL, LATER, change.split) == change.difference
    views = {(view.split, view.protocol): view for view in found.views}
    assert views["val", "classification"].classes
    assert views["val", "classification"].confusion.startswith("<svg")
    searched = views["val", "retrieval.text_to_image"]
    assert searched.examples
    assert all(len(example.after) == 5 for example in searched.examples)
    page = write_comparison_page([found], tmp_path / "page.html").read_text()
    assert "step-000010 compared with base-model" in page
    assert page.count("data:image/webp") > 5
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<script" not in page


def test_write_comparisons_writes_one_page_for_all_datasets(shop: Workspace) -> None:
    page = write_comparisons(shop, BASE_MODEL, LATER)
    assert page == shop.evaluation_page
    assert page.read_text().count("<h2>") == 2
    assert write_comparisons(shop, BASE_MODEL, BASE_MODEL) is None
    assert not shop.evaluation_page.exists()


def test_unknown_dataset_is_reported(shop: Workspace) -> None:
    with pytest.raises(UserError, match=r"evaluate.datasets .* no dataset `moon`; it has street, studio"):
        score_models(shop, model_folders(shop, BASE_MODEL), "moon")

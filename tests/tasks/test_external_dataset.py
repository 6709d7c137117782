"""External datasets: prepared once, evaluated by the tasks of their publishers or by another params file."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from fclip.catalog.descriptions import known_datasets, load_description
from fclip.errors import UserError
from fclip.evaluation.config import DatasetEvaluation
from tasks import external_dataset
from tasks.external_dataset import evaluation_section, prepare_external
from tasks.model_evaluation import score_models
from tasks.workspace.params import parse, read_params
from tasks.workspace.paths import Workspace
from tests.conftest import REPOSITORY
from tests.fclip.catalog.catalog_shop import jpeg
from tests.tiny_shop import tiny_clip

NAME = "marqo-polyvore"


def write_copy(folder: Path, num_rows: int) -> Path:
    """A local copy of a published dataset with a few rows."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    columns: dict[str, list[Any]] = {
        "item_ID": [f"{number}_1" for number in range(num_rows)],
        "category": [f"kind {number % 3}" for number in range(num_rows)],
        "text": [f"a thing, number {number}" for number in range(num_rows)],
        "image": [{"bytes": jpeg(number), "path": None} for number in range(num_rows)],
    }
    pq.write_table(pa.table(columns), folder / "data" / "data-00000-of-00001.parquet")
    return folder


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    tokenizer = tiny_clip(tmp_path / "tokenizer")
    monkeypatch.setattr(external_dataset, "_tokenizer_model", lambda workspace: tokenizer)  # fclip-tiny takes seconds
    params = read_params(REPOSITORY / "params.yaml")
    params["evaluate"]["settings"] = {"device": "cpu", "batch_size": 8, "resamples": 20}
    (tmp_path / "home").mkdir()
    found = Workspace(tmp_path / "home")
    found.params.write_text(yaml.safe_dump(params))
    return found


def test_published_dataset_is_evaluated_by_the_tasks_of_its_publishers(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = write_copy(tmp_path / "copy", 12)
    model = tiny_clip(tmp_path / "model")
    data = prepare_external(workspace, NAME, params=None, path=copy, limit=None)
    found = score_models(workspace, {"model": model}, NAME, data)
    assert {score.split for score in found.scores} == {"test"}
    assert {score.protocol for score in found.scores} == {
        "category",
        "retrieval.text_to_image",
        "retrieval.image_to_text",
        "category_to_product",
    }
    queries = {score.protocol: score.num_items for score in found.scores}
    assert queries == {**dict.fromkeys(queries, 12), "category_to_product": 3}

    with monkeypatch.context() as patch:  # nothing is ingested again
        patch.setattr(external_dataset, "build_catalog", None)
        assert prepare_external(workspace, NAME, params=None, path=copy, limit=None) == data
    write_copy(copy, 9)
    changed = prepare_external(workspace, NAME, params=None, path=copy, limit=None)
    assert changed != data
    assert score_models(workspace, {"model": model}, NAME, changed).scores[0].num_items == 9
    fewer = prepare_external(workspace, NAME, params=None, path=copy, limit=5)
    assert score_models(workspace, {"model": model}, NAME, fewer).scores[0].num_items == 5


def test_external_dataset_can_come_from_another_params_file(workspace: Workspace, tmp_path: Path) -> None:
    write_copy(workspace.root / "copy", 12)
    params = read_params(workspace.params)
    params["ingest"]["datasets"] = {
        "mine": {
            "source": {"kind": "published", "dataset": NAME, "path": "copy"},  # relative to the workspace
            "split": {"val": 0.5, "test": 0.5},
            "roles": {"val": "select", "test": "report"},
        }
    }
    kinds = {"title": "{title}", "highlights": None, "attributes": None, "short": None}
    params["caption"]["datasets"] = {"mine": kinds}
    classes = {"kind": "zero-shot", "label": "category", "templates": ["{}"], "wordings": {}, "pool": "mean"}
    params["evaluate"]["datasets"] = {
        "mine": {"primary": "classes.acc1", "max_items": None, "slices": [], "protocols": {"classes": classes}}
    }
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(params))
    data = prepare_external(workspace, "mine", params=tmp_path / "other.yaml", path=None, limit=None)
    found = score_models(workspace, {"model": tiny_clip(tmp_path / "model")}, "mine", data)
    assert {(score.split, score.role) for score in found.scores} == {("val", "select"), ("test", "report")}
    with pytest.raises(UserError, match=r"ingest.datasets of .*other.yaml: no dataset `yours`; it has mine"):
        prepare_external(workspace, "yours", params=tmp_path / "other.yaml", path=None, limit=None)


def test_missing_external_dataset_is_reported_and_leaves_no_files(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"unknown dataset `moon`; .* are street, studio, and the published datasets are .*marqo"
    ):
        prepare_external(workspace, "moon", params=None, path=None, limit=None)
    with pytest.raises(UserError, match="nowhere"):
        prepare_external(workspace, NAME, params=None, path=tmp_path / "nowhere", limit=None)
    copy = write_copy(tmp_path / "copy", 3)
    table = pq.read_table(copy / "data" / "data-00000-of-00001.parquet")
    pq.write_table(table.drop_columns(["category"]), copy / "data" / "data-00000-of-00001.parquet")
    with pytest.raises(UserError, match="has no column `category`"):
        prepare_external(workspace, NAME, params=None, path=copy, limit=None)
    assert not [path for path in workspace.external_datasets.glob("*") if path.name != "ingest"]


@pytest.mark.parametrize("name", known_datasets())
def test_every_published_dataset_has_a_valid_evaluation_section(name: str) -> None:
    values = evaluation_section(load_description(name))
    found = parse("evaluate", values, DatasetEvaluation)
    assert found.protocols

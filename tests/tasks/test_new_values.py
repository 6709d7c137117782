"""New types: which values are left out, and the second model that has not seen them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

import tasks.hold_out
import tasks.new_values
from fclip.errors import UserError
from fclip.files import sha256_tree, write_json
from fclip.models.candidates import BASE_MODEL
from tasks.base_model import find_base_model
from tasks.gather import main as gather
from tasks.hold_out import plan_hold_out
from tasks.new_values import measure_new_values, seconds_of_last_run, train_without
from tasks.workspace.paths import Workspace
from tasks.workspace.pins import write_pin
from tests.tiny_shop import make_shop, tiny_clip

FINETUNE = {
    "base_model": {"kind": "local", "path": "mine"},
    "trainable": "heads",
    "epochs": 1,
    "batch_size": 8,
    "num_candidates": 1,
    "captions": {"title": 0.5, "short": 0.5},
    "device": "cpu",
}


def set_params(workspace: Workspace, **sections: Any) -> None:
    params = yaml.safe_load(workspace.params.read_text())
    workspace.params.write_text(yaml.safe_dump({**params, **sections}))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """The tiny shop, in which the attribute `colour` is the category, with a pinned base model."""
    space = make_shop(tmp_path / "shop")
    tiny_clip(space.root / "mine", seed=3)
    set_params(space, finetune=FINETUNE)
    from fclip.base_models.local import LocalConfig
    from fclip.base_models.pinning import pin_base_model

    config = LocalConfig(kind="local", path="mine")
    write_pin(space.base_model_pin, pin_base_model(config, root=space.root, cache_dir=space.model_cache))
    return space


def test_a_model_without_some_values_is_trained_once_and_scored_on_them(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks.hold_out, "MIN_REPORTED", 2)
    plan = plan_hold_out(workspace, "types")
    assert (plan.dataset, plan.attribute) == ("studio", "colour")
    (value,) = plan.values  # a fifth of four
    assert plan == plan_hold_out(workspace, "types", "studio")
    gather(workspace)
    before = sha256_tree(workspace.training)

    space = train_without(workspace, plan)
    table = pq.read_table(space.catalog("studio") / "products.parquet").to_pylist()
    splits = {row["split"] for row in table if dict(row["attributes"]).get("colour") == value}
    assert splits == {"left out", "held out"}
    assert {row["split"] for row in table if dict(row["attributes"]).get("colour") != value} == {"train", "val", "test"}
    trained = pq.read_table(space.training / "products.parquet").to_pylist()
    used = [row for row in trained if row["split"] in ("train", "val")]
    assert len(used) == plan.num_others
    assert not [row for row in used if row["category"] == value]
    assert sha256_tree(workspace.training) == before
    assert space.root.is_relative_to(workspace.cache)

    models = {BASE_MODEL: find_base_model(space), "second": space.selected, "seen": workspace.candidate("step-000020")}
    scores = measure_new_values(workspace, space, plan, models, second="second", base=BASE_MODEL)
    assert [score.metric for score in scores] == ["classification.acc1", "retrieval.text_to_image.recall_at_10"]
    for score in scores:
        assert 0 < score.num_items <= plan.num_held_out
        assert set(score.by_model) == set(models)
        gain = score.by_model["second"].value - score.by_model[BASE_MODEL].value
        assert score.gain.value == pytest.approx(gain)

    digest = sha256_tree(space.selected)
    monkeypatch.setattr(tasks.new_values, "finetune", lambda space: pytest.fail("the model is in the cache"))
    assert train_without(workspace, plan) == space
    monkeypatch.undo()
    monkeypatch.setattr(tasks.hold_out, "MIN_REPORTED", 2)
    set_params(workspace, finetune={**FINETUNE, "learning_rate": 1.0e-2})
    other = train_without(workspace, plan)
    assert other != space
    assert sha256_tree(other.selected) != digest
    assert not space.root.exists()


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stages write empty folders."""
    monkeypatch.setattr(tasks.hold_out, "MIN_REPORTED", 2)
    monkeypatch.setattr(tasks.new_values, "finetune", lambda space: space.finetune.mkdir(parents=True))
    monkeypatch.setattr(tasks.new_values, "average", lambda space: space.averages.mkdir(parents=True))
    monkeypatch.setattr(tasks.new_values, "evaluate", lambda space, name: None)
    monkeypatch.setattr(tasks.new_values, "select", lambda space: space.selected.mkdir(parents=True))


@pytest.mark.usefixtures("no_training")
def test_the_model_of_another_dataset_or_attribute_is_not_reused(workspace: Workspace) -> None:
    plan = plan_hold_out(workspace, "types")
    plans = (plan, replace(plan, attribute="shade"), replace(plan, dataset="street"))
    assert len({train_without(workspace, each).root for each in plans}) == len(plans)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    ("rule", "street", "used"),
    [
        ("mean_score", {"val": "select"}, "mean_score"),
        ("mean_score", {"test": "report"}, "nearest_to_base"),
        ("margin", {"test": "report"}, "nearest_to_base"),
        ("in_domain_loss", {"test": "report"}, "in_domain_loss"),
    ],
)
def test_a_rule_for_derived_datasets_alone_is_replaced(
    workspace: Workspace, rule: str, street: dict[str, str], used: str
) -> None:
    datasets = yaml.safe_load(workspace.params.read_text())["ingest"]["datasets"]
    datasets["street"]["roles"] = street
    derived = {"copies": {"of": "studio", "shift": {"kind": "camera"}, "selects": True}}
    set_params(workspace, ingest={"datasets": datasets}, derive={"datasets": derived}, select={"rule": rule})
    space = train_without(workspace, plan_hold_out(workspace, "types"))
    assert yaml.safe_load(space.params.read_text())["select"] == {"rule": used}


def test_values_that_another_dataset_trains_on_are_refused(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks.hold_out, "MIN_REPORTED", 2)
    (value,) = plan_hold_out(workspace, "types").values
    datasets = yaml.safe_load(workspace.params.read_text())["ingest"]["datasets"]
    datasets["street"]["roles"] = {"val": "train", "test": "report"}
    set_params(workspace, ingest={"datasets": datasets})
    with pytest.raises(UserError, match=f"street trains too, and . of its products have the colour {value}, which"):
        plan_hold_out(workspace, "types", "studio")


@pytest.mark.parametrize(
    ("what", "dataset", "message"),
    [
        ("brands", None, "studio: no attribute is known to be the brand; name it in audit.attributes.brand"),
        ("types", "street", "street does not train; name one of .* studio"),
        ("types", None, r"studio: \d values of colour have 3 reported products or more, .* from 4 on"),
    ],
)
def test_what_cannot_be_measured_is_named(workspace: Workspace, what: Any, dataset: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan_hold_out(workspace, what, dataset)


def test_duration_is_that_of_the_last_run_of_all_stages(workspace: Workspace) -> None:
    assert seconds_of_last_run(workspace) is None
    timings = {
        name: {"began": 100.0, "ended": 160.0} for name in ("finetune", "average", "evaluate@studio", "ingest@a")
    }
    write_json(workspace.stage_timings, timings)
    assert seconds_of_last_run(workspace) is None
    write_json(workspace.stage_timings, {**timings, "select": {"began": 0.0, "ended": 1.0}})
    assert seconds_of_last_run(workspace) == 181.0

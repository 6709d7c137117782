"""Catalog profiles: written, stored with a registered version, and compared with later catalogs."""

import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from rich.console import Console

from fclip.base_models.pinning import BaseModelPin
from fclip.base_models.registry import Origin
from fclip.catalog.tables import PRODUCTS
from fclip.errors import UserError
from fclip.files import read_json, write_json
from fclip.profile.profile import profile_from_json
from fclip.registry.log import RunRecord, register_version
from fclip.registry.store import find_version
from flows import catalogs as flow
from flows.cli.catalog import show_catalog
from tasks.profile import drift, measure_catalogs, profile
from tasks.workspace.paths import Workspace
from tasks.workspace.pins import write_pin
from tests.conftest import REPOSITORY
from tests.tiny_shop import write_dataset

NAME = "fclip-sample"


@pytest.fixture
def workspace(tmp_path: Path, own_registry: Path) -> Workspace:
    """The default params with catalogs of coloured squares: `studio` is a training dataset, `street` is not."""
    space = Workspace(tmp_path / "space")
    space.root.mkdir()
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    for evaluation in params["evaluate"]["datasets"].values():
        evaluation["protocols"]["classification"] = {**evaluation["protocols"]["classification"], "label": "colour"}
    params["derive"]["datasets"] = {}
    space.params.write_text(yaml.safe_dump(params, sort_keys=False))
    write_dataset(space, "studio", {"train": 60, "val": 24, "test": 12})
    write_dataset(space, "street", {"val": 8, "test": 8})
    write_json(space.champion_pin, {})
    return space


def set_champion(workspace: Workspace, *, with_profile: bool = True) -> None:
    """Register arbitrary weights as the pinned champion."""
    workspace.selected.mkdir(parents=True)
    (workspace.selected / "open_clip_model.safetensors").write_bytes(b"weights")
    artifacts = ((workspace.profile, ""),) if with_profile else ()
    register_version(NAME, workspace.selected, RunRecord({}, (), {}, {}, artifacts=artifacts), run_name="test")
    found = find_version(NAME, "challenger")
    assert found is not None
    write_pin(workspace.champion_pin, found.pin)


def repaint(workspace: Workspace, dataset: str = "studio") -> None:
    """Change the colour of half of the coloured products to teal."""
    path = workspace.catalog(dataset) / "products.parquet"
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    for row in rows[::2]:
        row["attributes"] = [(name, "teal") for name, _ in row["attributes"]]
    pq.write_table(pa.Table.from_pylist(rows, schema=PRODUCTS), path)


def test_profile_writes_a_page_per_dataset_and_one_profile(workspace: Workspace) -> None:
    profiles = profile(workspace)
    assert list(profiles) == ["studio", "street"]
    assert {name: profile_from_json(each) for name, each in read_json(workspace.profile).items()} == profiles
    assert "99 rows" in workspace.catalog_page("studio").read_text()
    assert workspace.catalog_page("street").is_file()
    assert profiles["studio"].label == "colour"
    assert profiles["studio"].context_length is None  # no base model is in the cache


def test_context_length_comes_from_the_pinned_base_model(workspace: Workspace) -> None:
    write_pin(workspace.base_model_pin, BaseModelPin("local", {"path": "mine"}, Origin({}), "abc"))
    config = {"model_cfg": {"text_cfg": {"context_length": 64}, "vision_cfg": {}}}
    write_json(workspace.model_cache / "abc" / "open_clip_config.json", config)
    assert measure_catalogs(workspace, "street")["street"].context_length == 64


def test_profile_of_one_dataset_does_not_change_profile_json(workspace: Workspace) -> None:
    assert list(profile(workspace, "street")) == ["street"]
    assert not workspace.profile.exists()
    assert not workspace.catalog_page("studio").exists()
    with pytest.raises(UserError, match=r"no dataset `attic`.*studio, street"):
        profile(workspace, "attic")


def test_drift_without_a_champion_is_not_compared(workspace: Workspace) -> None:
    found = drift(workspace, measure_catalogs(workspace))
    assert found.warnings == ()
    assert "before this run there was no champion" in found.summary


def test_drift_with_a_champion_without_profile_is_not_compared(workspace: Workspace) -> None:
    set_champion(workspace, with_profile=False)
    found = drift(workspace, measure_catalogs(workspace))
    assert found.warnings == ()
    assert found.summary.startswith("the champion, version 1 of fclip-sample, has no profile")


def test_flow_and_command_report_drift(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    artifacts: dict[str, str] = {}
    monkeypatch.setattr(flow, "profile_task", profile)
    monkeypatch.setattr(flow, "drift_task", drift)
    monkeypatch.setattr(flow, "get_run_logger", lambda: logging.getLogger("flow"))
    monkeypatch.setattr(
        flow, "create_markdown_artifact", lambda key, markdown, description: artifacts.update({key: markdown})
    )
    caplog.set_level(logging.INFO, "flow")
    profile(workspace)
    set_champion(workspace)

    profiles, calm = flow.profile_catalogs(workspace, "My shop")

    assert set(profiles) == {"studio", "street"}
    assert calm.warnings == ()
    assert "drifted from version 1 of fclip-sample" in calm.summary
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "products" in artifacts["catalog-my-shop"]

    repaint(workspace)
    repaint(workspace, "street")  # not a training dataset
    _, found = flow.profile_catalogs(workspace, "My shop")

    assert {feature.dataset for feature in found.features} == {"studio"}
    assert any("colour: PSI" in warning for warning in found.warnings)
    assert any("'teal'" in warning for warning in found.warnings)
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warned == [f"Drift: {warning}" for warning in found.warnings]
    assert all(warning in artifacts["catalog-my-shop"] for warning in found.warnings)

    console = Console(width=100, record=True, color_system=None, quiet=False)
    show_catalog(workspace, console, "studio")
    shown = console.export_text()
    assert "'teal'" in shown
    assert str(workspace.catalog_page("studio")) in shown


def test_drift_ignores_a_profile_of_another_format(workspace: Workspace) -> None:
    write_json(workspace.profile, {"studio": {"format": 0}})
    set_champion(workspace)
    assert "has format 0" in drift(workspace, measure_catalogs(workspace)).summary


def test_champion_pin_unknown_to_the_registry_is_an_error(workspace: Workspace) -> None:
    write_json(workspace.champion_pin, {"registered_model": NAME, "version": 7, "model_sha256": "abc"})
    with pytest.raises(UserError, match="does not have version 7 of fclip-sample"):
        drift(workspace, measure_catalogs(workspace))

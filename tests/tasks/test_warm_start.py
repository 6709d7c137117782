"""A warm start: its pin, when it moves to a new champion, and its candidates."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from fclip.errors import UserError
from fclip.files import read_json, sha256_file
from fclip.models.candidates import Candidate, write_candidates
from fclip.models.digests import model_sha256
from fclip.registry.backend import connect
from fclip.registry.champion_alias import set_champion
from fclip.registry.log import RunRecord, register_version
from fclip.training.data import Item, read_items
from fclip.training.seen_rows import write_seen_rows
from tasks.base_model import find_base_model, find_original_base_model, find_trained_rows
from tasks.finetune import finetune
from tasks.resolve import resolve
from tasks.workspace.paths import Workspace
from tests.conftest import REPOSITORY
from tests.fclip.training.training_jobs import product_rows, write_products
from tests.packs import write_packs
from tests.tiny_shop import tiny_clip

NAME = "fclip-test"


@pytest.fixture
def workspace(tmp_path: Path, own_registry: Path) -> Workspace:
    """A workspace with a training dataset `studio`, another dataset `street`, and a warm start without a champion."""
    space = Workspace(tmp_path / "space")
    tiny_clip(space.root / "mine")
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["base"]["registered_model"] = NAME
    space.params.write_text(yaml.safe_dump(params))
    set_base_model(space, {"kind": "champion", "otherwise": {"kind": "local", "path": "mine"}})
    return space


def set_base_model(workspace: Workspace, base_model: dict[str, Any], replay: dict[str, Any] | None = None) -> None:
    params = yaml.safe_load(workspace.params.read_text())
    params["finetune"]["replay"] = replay
    params["finetune"] |= {
        "base_model": base_model,
        "trainable": "heads",
        "epochs": 1,
        "batch_size": 8,
        "num_candidates": 1,
    }
    workspace.params.write_text(yaml.safe_dump(params))


def set_seed(workspace: Workspace, dataset: str, seed: int) -> None:
    """Change the seed, and so the source, of a dataset."""
    params = yaml.safe_load(workspace.params.read_text())
    params["ingest"]["datasets"][dataset]["source"]["seed"] = seed
    workspace.params.write_text(yaml.safe_dump(params))


def gathered(workspace: Workspace, num_train: int) -> Path:
    """Write a training table with this number of products; the first products are always the same."""
    rows, images = product_rows({"train": num_train, "val": 8})
    workspace.training.mkdir(parents=True, exist_ok=True)
    write_packs(workspace.images("shop"), images)
    return write_products(workspace.training, rows)


def new_champion(workspace: Workspace, seed: int, *, rows: Path | None = None) -> dict[str, Any]:
    """Register a new champion and return its pin. `rows`: the training table to store as `trained-rows.parquet`."""
    folder = workspace.root / f"trained-{seed}"
    tiny_clip(folder, seed=seed)
    if rows:
        write_seen_rows(rows, workspace.trained_rows)
    artifacts = ((workspace.trained_rows, ""),) if rows else ()
    record = RunRecord(params={}, points=(), headline={}, tags={}, artifacts=artifacts)
    receipt = register_version(NAME, folder, record, run_name="a run")
    return set_champion(connect(), NAME, receipt.version).pin.to_json()


def test_warm_start_follows_the_champion_only_after_training_data_changed(workspace: Workspace) -> None:
    assert "pins/base_model.json" in resolve(workspace).changed
    pin = read_json(workspace.base_model_pin)
    cold = model_sha256(find_base_model(workspace))
    assert (pin["champion"], pin["model_sha256"], pin["otherwise"]["model_sha256"]) == (None, cold, cold)
    assert find_original_base_model(workspace) is None

    first = new_champion(workspace, 1)  # a promotion alone must not move the warm start
    assert resolve(workspace).changed == ("pins/champion.json",)
    assert resolve(workspace).changed == ()
    set_seed(workspace, "street", 1)  # not a training dataset
    assert resolve(workspace).changed == ("pins/sources/street.json",)
    assert read_json(workspace.base_model_pin) == pin

    set_seed(workspace, "studio", 1)
    assert set(resolve(workspace).changed) == {"pins/base_model.json", "pins/sources/studio.json"}
    pin = read_json(workspace.base_model_pin)
    assert (pin["champion"], pin["model_sha256"]) == ({**first, "rows_sha256": None}, first["model_sha256"])
    assert find_base_model(workspace) == workspace.model_cache / first["model_sha256"]
    original = find_original_base_model(workspace)
    assert original is not None
    assert original.name == cold

    second = new_champion(workspace, 2)
    assert resolve(workspace).changed == ("pins/champion.json",)
    assert find_base_model(workspace).name == first["model_sha256"]
    assert resolve(workspace, follow_champion=True).changed == ("pins/base_model.json",)
    assert find_base_model(workspace).name == second["model_sha256"]


def test_new_warm_start_uses_the_champion_at_once(workspace: Workspace) -> None:
    first = new_champion(workspace, 1)
    set_base_model(workspace, {"kind": "local", "path": "mine"})
    resolve(workspace)
    assert read_json(workspace.base_model_pin)["kind"] == "local"
    set_base_model(workspace, {"kind": "champion", "otherwise": {"kind": "local", "path": "mine"}})
    with pytest.raises(UserError, match="run `fclip pin`"):
        find_base_model(workspace)
    assert resolve(workspace).changed == ("pins/base_model.json",)
    assert read_json(workspace.base_model_pin)["champion"]["version"] == first["version"]
    tiny_clip(workspace.root / "other", seed=7)
    set_base_model(workspace, {"kind": "champion", "otherwise": {"kind": "local", "path": "other"}})
    with pytest.raises(UserError, match="run `fclip pin`"):
        find_base_model(workspace)
    resolve(workspace)
    assert read_json(workspace.base_model_pin)["champion"]["version"] == first["version"]


def test_champion_weights_are_found_by_digest(workspace: Workspace) -> None:
    first = new_champion(workspace, 1)
    resolve(workspace)
    shutil.copytree(workspace.root / "trained-1", workspace.selected)
    cached = find_base_model(workspace)  # from models/selected
    shutil.rmtree(workspace.selected)
    assert model_sha256(cached) == cached.name == first["model_sha256"]
    shutil.rmtree(workspace.cache)
    assert find_base_model(workspace) == cached  # from the registry
    assert model_sha256(cached) == cached.name


def test_champion_and_original_base_model_are_candidates(workspace: Workspace) -> None:
    first = new_champion(workspace, 1)
    resolve(workspace)
    gathered(workspace, 16)
    finetune(workspace)
    candidates = json.loads((workspace.finetune / "candidates.json").read_text())
    assert [(entry["name"], entry["step"]) for entry in candidates] == [
        ("base-model", 0),
        ("original-base-model", 0),
        ("step-000002", 2),
    ]
    cold = read_json(workspace.base_model_pin)["otherwise"]["model_sha256"]
    assert [entry["model_sha256"] for entry in candidates[:2]] == [first["model_sha256"], cold]
    for entry in candidates:
        assert model_sha256(workspace.finetune / "candidates" / entry["name"]) == entry["model_sha256"]


def test_replay_uses_the_training_rows_of_the_champion(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    new_champion(workspace, 1, rows=gathered(workspace, 16))
    set_base_model(
        workspace, {"kind": "champion", "otherwise": {"kind": "local", "path": "mine"}}, replay={"share": 0.3}
    )
    resolve(workspace)
    rows = find_trained_rows(workspace)
    assert rows is not None
    rows.write_bytes(b"half")
    assert find_trained_rows(workspace) == rows  # downloaded again
    assert sha256_file(rows) == read_json(workspace.base_model_pin)["champion"]["rows_sha256"]

    gathered(workspace, 24)
    seen: list[Item] = []
    monkeypatch.setattr("tasks.finetune.run_job", lambda job, stop: seen.extend(items(job)) or finished(job))
    finetune(workspace)
    assert [item.old for item in seen] == [True] * 16 + [False] * 8


def items(job: Path) -> list[Item]:
    return read_items(job / "products.parquet", "train", {"title": 1.0})


def finished(job: Path) -> Path:
    """Write the outputs of a training run without running it."""
    (job / "out" / "candidates").mkdir(parents=True)
    write_candidates(job / "out" / "candidates.json", [Candidate("base-model", "base", 0, 0.0, "0" * 64)])
    return job / "out"


def test_champion_with_unknown_rows_makes_all_products_new(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    new_champion(workspace, 1)
    set_base_model(
        workspace, {"kind": "champion", "otherwise": {"kind": "local", "path": "mine"}}, replay={"share": 0.3}
    )
    resolve(workspace)
    gathered(workspace, 16)
    assert find_trained_rows(workspace) is None
    finetune(workspace)
    assert "all products count as new" in caplog.text
